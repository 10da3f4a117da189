//! A control plane, both stand-ins and an operator: one world for each test.

use std::{collections::BTreeMap, ops::Deref, path::PathBuf, sync::Arc};

use bitbucket_connection_operator::{
    api::BitbucketConnection,
    domain::scopes::{UseCase, required},
};
use sim::{Bitbucket, Kms, Token};

use super::{
    CLIENT_ID, CLIENT_SECRET, EMAIL, Operator, PATIENCE, PAUSE, PROJECT, SECRET, TOKEN, operator::Launch, plane::Plane,
    pod::Pod, rights, tenant::Tenant, writes::Write,
};

/// What one test plays in. It dereferences to its first namespace, in which the operator works.
pub struct World {
    tenant: Tenant,
    /// The stand-in Bitbucket, which knows [`TOKEN`].
    pub bitbucket: Bitbucket,
    /// The stand-in KMS, which knows an identity and [`PROJECT`].
    pub kms: Kms,
    /// The operator's process.
    pub operator: Operator,
    plane: Arc<Plane>,
    user: String,
    kubeconfig: PathBuf,
    args: Vec<String>,
    envs: BTreeMap<String, String>,
}

/// How a world is to be.
pub struct Builder {
    cluster_wide: bool,
    operator: bool,
    args: Vec<String>,
    left_out: Vec<&'static str>,
    envs: BTreeMap<String, String>,
    root: Option<PathBuf>,
}

impl Builder {
    /// The operator runs in this root folder as in a pod, and not as a program of this machine.
    pub fn in_root(mut self, root: PathBuf) -> Self {
        self.root = Some(root);
        self
    }

    /// The operator isn't started; `world.operator.start()` does that.
    pub fn without_operator(mut self) -> Self {
        self.operator = false;
        self
    }

    /// More arguments for the operator's `run`; one of the usual ones is replaced by what is given here.
    pub fn args<S: Into<String>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Without a usual argument, and without its value, such as `--allow-insecure-kms`.
    pub fn without_arg(mut self, name: &'static str) -> Self {
        self.left_out.push(name);
        self
    }

    /// A variable in the operator's environment.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.envs.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Makes the world, and waits until its operator is ready.
    pub async fn start(self) -> World {
        let plane = if self.cluster_wide { Plane::own().await } else { Plane::shared().await };
        let client = plane.client().await;
        let namespace = format!("t-{}", &uuid::Uuid::new_v4().simple().to_string()[..12]);
        rights::make_namespace(&client, &namespace).await;
        // Where the operator lives; no namespace that it serves.
        let home = namespace.replacen("t-", "o-", 1);
        rights::make_namespace(&client, &home).await;
        let (user, token) = rights::grant(&client, &home, (!self.cluster_wide).then_some(namespace.as_str())).await;
        let kubeconfig = plane.control_plane.kubeconfig_with(&user, &token, &home).expect("a kubeconfig");
        let launch = match &self.root {
            None => Launch::Program(kubeconfig.clone()),
            Some(root) => Launch::Pod(Pod::new(&plane, &home, &token, root)),
        };
        let bitbucket = Bitbucket::start().await;
        bitbucket.add(Token::new(EMAIL, TOKEN).scopes(needed_by(&[UseCase::SecretScanning])));
        let kms = Kms::start(&bitbucket).await;
        kms.add_identity(CLIENT_ID, CLIENT_SECRET);
        kms.add_project(PROJECT);

        let (url, owner) = (bitbucket.url(), uuid::Uuid::new_v4().to_string());
        let mut usual = vec![
            vec!["--allow-insecure-kms"],
            vec!["--allowed-kms-hosts", "127.0.0.1"],
            vec!["--bitbucket-url", &url],
            vec!["--health-addr", "127.0.0.1:0"],
            vec!["--metrics-addr", "127.0.0.1:0"],
            vec!["--log-format", "json"],
            // Tests do in seconds what takes hours elsewhere; those about limits set them.
            vec!["--kms-reads-per-minute", "0"],
            vec!["--kms-writes-per-minute", "0"],
            vec!["--bitbucket-requests-per-hour", "0"],
        ];
        if !self.cluster_wide {
            usual.extend([vec!["--namespaces", &namespace], vec!["--owner-id", &owner]]);
        }
        let given = |name: &str| self.args.iter().any(|arg| arg.split('=').next() == Some(name));
        usual.retain(|arg| !given(arg[0]) && !self.left_out.contains(&arg[0]));
        let mut args: Vec<String> = usual.into_iter().flatten().map(str::to_owned).collect();
        args.extend(self.args);

        let operator = Operator::new(&plane, launch, args.clone(), self.envs.clone());
        let tenant = Tenant::new(namespace, client, self.cluster_wide, &bitbucket, &kms, &operator);
        if self.operator {
            operator.start().await;
        }
        World { tenant, bitbucket, kms, operator, plane, user, kubeconfig, args, envs: self.envs }
    }
}

impl World {
    /// With an operator that sees one namespace, on the control plane that all tests share.
    pub async fn start() -> Self {
        Self::builder().start().await
    }

    /// With an operator that sees all namespaces, on a control plane of its own: for ClusterKmsInstances.
    pub async fn cluster_wide() -> Self {
        Self::cluster_wide_builder().start().await
    }

    /// [`World::start`] with differences.
    pub fn builder() -> Builder {
        Builder {
            cluster_wide: false,
            operator: true,
            args: Vec::new(),
            left_out: Vec::new(),
            envs: BTreeMap::new(),
            root: None,
        }
    }

    /// [`World::cluster_wide`] with differences.
    pub fn cluster_wide_builder() -> Builder {
        Builder { cluster_wide: true, ..Self::builder() }
    }

    /// Issues a token with exactly the scopes for SecretScanning.
    pub fn issue(&self, email: &str, token: &str) {
        self.bitbucket.add(Token::new(email, token).scopes(needed_by(&[UseCase::SecretScanning])));
    }

    /// Applies the Secret [`SECRET`] with the good token, the instance and a connection, and waits until it is Ready.
    pub async fn ready_connection(&self, name: &str) -> BitbucketConnection {
        self.secret(SECRET, EMAIL, TOKEN).await;
        self.instance_in_use().await;
        self.connection(name).apply().await;
        self.ready(name).await
    }

    /// The only connection of this name in the KMS.
    pub fn row(&self, name: &str) -> sim::Connection {
        let mut rows = self.kms.connections();
        rows.retain(|row| row.name == name);
        assert_eq!(rows.len(), 1, "connections {name} in the KMS: {rows:#?}");
        rows.remove(0)
    }

    /// Kills the operator and starts it again, with an empty memory; waits until it is ready.
    pub async fn restart(&self) {
        if self.operator.is_running() {
            self.operator.kill().await;
        }
        self.operator.start().await;
    }

    /// Another replica, not started yet: of the same user, with the same arguments and these.
    pub fn replica<S: Into<String>>(&self, args: impl IntoIterator<Item = S>) -> Operator {
        let args = self.args.iter().cloned().chain(args.into_iter().map(Into::into)).collect();
        Operator::new(&self.plane, Launch::Program(self.kubeconfig.clone()), args, self.envs.clone())
    }

    /// Another replica, not started yet: with the same arguments, and these variables in its environment.
    pub fn replica_with(&self, variables: &[(&str, &str)]) -> Operator {
        let mut envs = self.envs.clone();
        envs.extend(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        Operator::new(&self.plane, Launch::Program(self.kubeconfig.clone()), self.args.clone(), envs)
    }

    /// Another replica, not started yet: with these arguments besides, and these variables in its environment.
    pub fn replica_as(&self, args: &[&str], variables: &[(&str, &str)]) -> Operator {
        let args = self.args.iter().cloned().chain(args.iter().map(|arg| (*arg).to_owned())).collect();
        let mut envs = self.envs.clone();
        envs.extend(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        Operator::new(&self.plane, Launch::Program(self.kubeconfig.clone()), args, envs)
    }

    /// The same as a user of its own, with the same rights, so that its writes are told from those of the first. It comes
    /// with the user's name.
    pub async fn replica_apart(&self) -> (Operator, String) {
        let namespace = (!self.is_cluster_wide()).then(|| self.namespace());
        let (user, token) = rights::grant_another(self.client(), self.home(), namespace).await;
        let kubeconfig = self.plane.control_plane.kubeconfig_with(&user, &token, self.home()).expect("a kubeconfig");
        (Operator::new(&self.plane, Launch::Program(kubeconfig), self.args.clone(), self.envs.clone()), user)
    }

    /// Another namespace; an operator that sees one namespace doesn't see it.
    pub async fn tenant(&self, name: &str) -> Tenant {
        rights::make_namespace(self.client(), name).await;
        self.tenant.in_namespace(name)
    }

    /// All that the operator's replicas changed in the API server since the beginning, or tried to. The API server notes
    /// a write a moment after a watch may have shown it: see [`World::api_writes_until`].
    pub fn api_writes(&self) -> Vec<Write> {
        self.plane.audit.writes(&self.user)
    }

    /// What another user changed in the API server, or tried to: see [`World::replica_apart`].
    pub fn api_writes_of(&self, user: &str) -> Vec<Write> {
        self.plane.audit.writes(user)
    }

    /// Secrets and ConfigMaps that the operator read, or tried to, such as `secrets team-a/bitbucket-token`.
    pub fn api_reads(&self) -> Vec<String> {
        self.plane.audit.reads(&self.user)
    }

    /// Asks until this holds for the operator's writes, and returns them; nothing tells when one is noted.
    pub async fn api_writes_until(&self, holds: impl Fn(&[Write]) -> bool) -> Vec<Write> {
        let noted = async {
            loop {
                let writes = self.api_writes();
                if holds(&writes) {
                    return writes;
                }
                tokio::time::sleep(PAUSE).await;
            }
        };
        let noted = tokio::time::timeout(PATIENCE, noted).await;
        noted.unwrap_or_else(|_| panic!("the operator wrote otherwise: {:#?}", self.api_writes()))
    }

    /// Lets the operator mint tokens for a ServiceAccount of the first namespace, and for no other.
    pub async fn let_mint(&self, service_account: &str) {
        rights::let_mint(self.client(), self.home(), self.namespace(), service_account).await;
    }

    /// The control plane: kubectl, restarts, outages (only of an own one, as others use the shared one too).
    pub fn plane(&self) -> &Plane {
        &self.plane
    }

    /// The user that the operator is, `system:serviceaccount:<namespace>:<name>`, for more or fewer rights.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The namespace that the operator lives in.
    pub fn home(&self) -> &str {
        self.user.split(':').nth(2).unwrap_or_default()
    }

    /// Waits until a request of the operator is refused for want of this right, such as `list` and `secrets`, where it
    /// is bound to a namespace in that.
    pub async fn until_refused(&self, verb: &str, resource: &str, namespace: Option<&str>) {
        let refused = async {
            let is_meant = |request: &Write| {
                let here = namespace.is_none_or(|namespace| request.namespace == namespace);
                request.verb == verb && request.resource == resource && here
            };
            while !self.plane.audit.refused(&self.user).iter().any(is_meant) {
                tokio::time::sleep(PAUSE).await;
            }
        };
        let refused = tokio::time::timeout(PATIENCE, refused).await;
        refused.unwrap_or_else(|_| panic!("nobody misses the right to {verb} {resource}\n{}", self.operator.tail()));
    }
}

impl Deref for World {
    type Target = Tenant;

    fn deref(&self) -> &Tenant {
        &self.tenant
    }
}

/// The scopes of a token that can do exactly this.
pub fn needed_by(use_cases: &[UseCase]) -> Vec<String> {
    required(use_cases, &[]).into_iter().map(|scope| scope.as_str().to_owned()).collect()
}
