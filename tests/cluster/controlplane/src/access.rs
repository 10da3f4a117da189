//! Who may talk to the API server, and the kubeconfigs to do so.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::error::{Error, cannot};

/// The user that may do everything.
pub const ADMIN: &str = "admin";

/// A user with a token of their own who may do nothing until RBAC says otherwise.
pub const TENANT: &str = "tenant";

/// The users' tokens and kubeconfigs, all in the folder of the control plane.
#[derive(Debug)]
pub(crate) struct Access {
    dir: PathBuf,
    server: String,
    admin_token: String,
    tenant_token: String,
}

impl Access {
    /// Writes the tokens' file and the kubeconfig of the admin.
    pub(crate) fn write(dir: &Path, port: u16) -> Result<Self, Error> {
        let access = Self {
            dir: dir.to_owned(),
            server: format!("https://127.0.0.1:{port}"),
            admin_token: random_hex()?,
            tenant_token: random_hex()?,
        };
        let tokens = format!(
            "{},{ADMIN},{ADMIN},\"system:masters\"\n{},{TENANT},{TENANT}\n",
            access.admin_token, access.tenant_token
        );
        fs::write(access.tokens(), tokens).map_err(cannot("write the tokens"))?;
        access.kubeconfig_for(ADMIN)?;
        Ok(access)
    }

    pub(crate) fn server(&self) -> &str {
        &self.server
    }

    /// The file with the tokens, for the API server.
    pub(crate) fn tokens(&self) -> PathBuf {
        self.dir.join("tokens.csv")
    }

    /// The folder where the API server puts its certificate.
    pub(crate) fn certificates(&self) -> PathBuf {
        self.dir.join("certificates")
    }

    /// The key that the API server makes for its certificate; it signs the tokens of service accounts, too.
    pub(crate) fn server_key(&self) -> PathBuf {
        self.certificates().join("apiserver.key")
    }

    pub(crate) fn path_for(&self, user: &str) -> PathBuf {
        if user == ADMIN {
            return self.dir.join("kubeconfig");
        }
        let name: String = user
            .bytes()
            .map(|byte| match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' => char::from(byte).to_string(),
                _ => format!("_{byte:02x}"),
            })
            .collect();
        self.dir.join(format!("kubeconfig.{name}"))
    }

    pub(crate) fn kubeconfig_for(&self, user: &str) -> Result<PathBuf, Error> {
        let path = self.path_for(user);
        let kubeconfig = format!("{:#}\n", self.kubeconfig(user));
        fs::write(&path, kubeconfig).map_err(cannot(format!("write {}", path.display())))?;
        Ok(path)
    }

    /// A kubeconfig of somebody who has a token from elsewhere, such as a ServiceAccount's.
    pub(crate) fn kubeconfig_with(&self, user: &str, token: &str, namespace: &str) -> Result<PathBuf, Error> {
        let path = self.path_for(user);
        let kubeconfig = format!("{:#}\n", self.kubeconfig_of(user, &json!({ "token": token }), namespace));
        fs::write(&path, kubeconfig).map_err(cannot(format!("write {}", path.display())))?;
        Ok(path)
    }

    /// The two users with tokens use them; anybody else is impersonated by the admin.
    fn kubeconfig(&self, user: &str) -> Value {
        let credentials = match user {
            ADMIN => json!({ "token": self.admin_token }),
            TENANT => json!({ "token": self.tenant_token }),
            _ => json!({ "token": self.admin_token, "as": user }),
        };
        self.kubeconfig_of(user, &credentials, "default")
    }

    /// JSON is YAML.
    fn kubeconfig_of(&self, user: &str, credentials: &Value, namespace: &str) -> Value {
        json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{ "name": "controlplane", "cluster": {
                "server": self.server,
                "certificate-authority": self.certificates().join("apiserver.crt"),
            }}],
            "users": [{ "name": user, "user": credentials }],
            "contexts": [{ "name": "controlplane", "context": {
                "cluster": "controlplane", "user": user, "namespace": namespace,
            }}],
            "current-context": "controlplane",
        })
    }
}

/// 128 random bits.
pub(crate) fn random_hex() -> Result<String, Error> {
    let mut bytes = [0; 16];
    fs::File::open("/dev/urandom")
        .and_then(|mut random| random.read_exact(&mut bytes))
        .map_err(cannot("read /dev/urandom"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
