//! What a container engine and a kubelet give to the operator in a pod, without either of them: the image's root folder
//! as all that it sees, a user without rights, and a ServiceAccount with its token.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::{plane::Plane, rights::NAME};

/// Where a kubelet puts the token, the cluster's CA and the namespace.
const MOUNT: &str = "var/run/secrets/kubernetes.io/serviceaccount";

/// A pod's place: a root folder, and variables that lead to the API server.
#[derive(Clone)]
pub struct Pod {
    root: PathBuf,
    envs: Vec<(&'static str, String)>,
}

impl Pod {
    /// Gives a root folder, which belongs to this test, all that a pod of this namespace has, with this token.
    pub fn new(plane: &Plane, namespace: &str, token: &str, root: &Path) -> Self {
        let mount = root.join(MOUNT);
        fs::create_dir_all(&mount).expect("a folder for the ServiceAccount");
        let put =
            |name: &str, content: &str| fs::write(mount.join(name), content).expect("a file of the ServiceAccount");
        put("token", token);
        put("namespace", namespace);
        let certificates = plane.control_plane.dir().join("certificates/apiserver.crt");
        put("ca.crt", &fs::read_to_string(certificates).expect("the API server's certificate"));
        // The kubelet writes this one as well.
        fs::write(root.join("etc/hosts"), "127.0.0.1 localhost\n").expect("a file of hosts");

        let server = plane.control_plane.server();
        let (host, port) = server.trim_start_matches("https://").rsplit_once(':').expect("host and port");
        let envs = vec![("KUBERNETES_SERVICE_HOST", host.to_owned()), ("KUBERNETES_SERVICE_PORT", port.to_owned())];
        Self { root: root.to_owned(), envs }
    }

    /// Variables that a container of the pod has.
    pub fn envs(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let image = ("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt");
        self.envs.iter().map(|(name, value)| (*name, value.as_str())).chain([image])
    }

    /// A program and its arguments that start the operator in this root folder.
    pub fn entrypoint(&self) -> (&'static str, Vec<String>) {
        entrypoint(&self.root)
    }
}

/// A program and its arguments that start the binary of a root folder there, as a user without rights. Who is not root
/// is root of a user namespace for the moment that it takes to get in.
pub fn entrypoint(root: &Path) -> (&'static str, Vec<String>) {
    let root = root.to_str().expect("a path in UTF-8").to_owned();
    let binary = format!("/{NAME}");
    if is_root() {
        ("chroot", vec!["--userspec=65532:65532".to_owned(), root, binary])
    } else {
        ("unshare", vec!["--map-root-user".to_owned(), "chroot".to_owned(), root, binary])
    }
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().expect("a user");
    id.stdout.trim_ascii() == b"0"
}
