//! A newcomer's first day: one `helm install`, then what it printed, with the gaps filled in; and a connection is Ready.

use std::{collections::BTreeMap, sync::Arc};

use bitbucket_connection_operator::{api::BitbucketConnection, domain::scopes::UseCase};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Container};
use kube::{Api, runtime::wait::await_condition};
use serde_json::json;
use sim::{Bitbucket, Kms, Token};
use tokio::process::Command;

use crate::harness::{
    CLIENT_ID, CLIENT_SECRET, EMAIL, Launch, Operator, PATIENCE, PROJECT, Plane, TOKEN,
    chart::{CHART, helm, install, said},
    condition, needed_by,
    rights::{NAME, apply, make_namespace, token},
};

const TEAM: &str = "team-a";

/// A cluster without our kinds, both services, and what Helm prints after the installation.
struct FirstDay {
    plane: Arc<Plane>,
    kms: Kms,
    // Only what listens answers.
    _bitbucket: Bitbucket,
    told: String,
}

impl FirstDay {
    async fn install(values: &[&str]) -> Self {
        let plane = Arc::new(Plane::bare().await);
        make_namespace(&plane.client().await, TEAM).await;
        let bitbucket = Bitbucket::start().await;
        bitbucket.add(Token::new(EMAIL, TOKEN).scopes(needed_by(&[UseCase::SecretScanning])));
        let kms = Kms::start(&bitbucket).await;
        kms.add_identity(CLIENT_ID, CLIENT_SECRET);
        kms.add_project(PROJECT);
        // Where the services are; and a leader loses its Lease to no slow machine: nobody starts it anew here.
        let (bitbucket_url, host) =
            (format!("bitbucketUrl={}", bitbucket.url()), format!("instance.spec.host={}", kms.url()));
        let mut sets = vec![&*bitbucket_url, "allowedKmsHosts={127.0.0.1}", "allowInsecureKms=true"];
        sets.push("leaderElection.leaseDuration=180s,leaderElection.renewDeadline=120s");
        sets.extend(values.iter().map(|value| if *value == "instance.spec.host" { &*host } else { value }));
        let mut args = vec![NAME, CHART, "--namespace", NAME, "--create-namespace"];
        args.extend(sets.iter().flat_map(|set| ["--set", set]));
        let told = install(&plane.control_plane, &args).await.unwrap_or_else(|complaint| panic!("{complaint}"));
        plane.until_kinds_are_served().await;
        Self { plane, kms, _bitbucket: bitbucket, told }
    }

    /// Runs what the Deployment's pod would: under its ServiceAccount, with its arguments and environment.
    async fn start_operator(&self) -> Operator {
        let client = self.plane.client().await;
        let deployments: Api<Deployment> = Api::namespaced(client.clone(), NAME);
        let pod = deployments.get(NAME).await.expect("the Deployment").spec.template.spec.expect("a pod");
        let Container { args, env, .. } = pod.containers.into_iter().next().expect("a container");
        let account = pod.service_account_name.expect("a ServiceAccount");
        let user = format!("system:serviceaccount:{NAME}:{account}");
        let token = token(&client, NAME, &account).await;
        let kubeconfig = self.plane.control_plane.kubeconfig_with(&user, &token, NAME).expect("a kubeconfig");
        // Ports of a machine that isn't its own.
        let args = args.unwrap_or_default().into_iter().filter(|arg| arg != "run");
        let args = args.map(|arg| match arg.split_once("=0.0.0.0:") {
            Some((flag, _)) => format!("{flag}=127.0.0.1:0"),
            None => arg,
        });
        let env = env.unwrap_or_default().into_iter().map(|it| (it.name, it.value.unwrap_or_default()));
        // As a leader leaves it that was asked to end, so that the next one needn't wait.
        let lease = json!({"leaseDurationSeconds": 1});
        let metadata = json!({"name": NAME, "namespace": NAME});
        let kind = "coordination.k8s.io/v1";
        apply(&client, json!({"apiVersion": kind, "kind": "Lease", "metadata": metadata, "spec": lease})).await;
        let operator = Operator::new(&self.plane, Launch::Program(kubeconfig), args.collect(), env.collect());
        operator.start().await;
        operator
    }

    /// Pastes the commands that were printed into a shell, with what only the newcomer knows.
    async fn follow(&self) {
        let host = self.kms.url();
        let gaps = BTreeMap::from([
            ("<client id>", CLIENT_ID),
            ("<client secret>", CLIENT_SECRET),
            ("<namespace of a team>", TEAM),
            ("<namespace>", TEAM),
            ("<project id>", PROJECT),
            ("<e-mail>", EMAIL),
            ("<API token>", TOKEN),
            // The only one that may be asked, as it was installed.
            ("https://127.0.0.1", &host),
        ]);
        let kubectl = self.plane.control_plane.kubectl();
        let kubectl = kubectl.as_std();
        let mut pasted = 0;
        for printed in self.told.split("\nkubectl apply ").skip(1) {
            let mut printed = printed.split_once("\nEOF\n").expect("an end where a shell sees it").0.to_owned();
            for (gap, filling) in &gaps {
                printed = printed.replace(gap, filling);
            }
            let mut shell = Command::new("sh");
            // Its first argument is kubectl, all others those of kubectl that lead to the cluster.
            shell.arg("-c").arg(format!("\"$0\" \"$@\" apply {printed}\nEOF\n"));
            shell.arg(kubectl.get_program()).args(kubectl.get_args());
            shell.envs(kubectl.get_envs().filter_map(|(name, value)| Some((name, value?))));
            said(&mut shell).await.unwrap_or_else(|complaint| panic!("{complaint}\n{printed}"));
            pasted += 1;
        }
        assert_eq!(pasted, self.told.matches("<<'EOF'").count(), "{}", self.told);
    }

    /// The connection that was printed gets Ready, and the last command shows it.
    async fn ends_well(self) {
        let operator = self.start_operator().await;
        self.follow().await;
        let client = self.plane.client().await;
        let connections: Api<BitbucketConnection> = Api::namespaced(client, TEAM);
        let is_ready = |object: Option<&BitbucketConnection>| {
            object.is_some_and(|object| object.status.is_some() && condition(object, "Ready").0 == "True")
        };
        let ready = await_condition(connections.clone(), "my-connection", is_ready);
        if tokio::time::timeout(PATIENCE, ready).await.is_err() {
            let status = connections.get("my-connection").await.expect("the connection").status;
            panic!("my-connection isn't Ready: {status:#?}\n{}\n{}", self.told, operator.tail());
        }
        assert_eq!(self.kms.connections().len(), 1);

        let last = self.told.lines().rfind(|line| !line.trim().is_empty()).expect("a last line");
        let last = last.replace("<namespace>", TEAM);
        let args: Vec<&str> = last.strip_prefix("kubectl ").expect("a command").split(' ').collect();
        let shown = said(self.plane.control_plane.kubectl().args(args)).await.expect("what kubectl shows");
        assert!(shown.lines().any(|line| line.contains("my-connection") && line.contains("True")), "{shown}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_cluster() {
    let day = FirstDay::install(&[]).await;
    assert!(day.told.contains("it begins 180s after that"), "{}", day.told);
    day.ends_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_one_namespace() {
    let values = ["watchNamespaces={team-a}", "ownerId=my-cluster", "instance.name=kms"];
    FirstDay::install(&values).await.ends_well().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_an_instance_that_comes_along() {
    let day = FirstDay::install(&[
        "instance.create=true",
        "instance.name=company",
        "instance.spec.host",
        "instance.spec.auth.universal.secretRef.name=kms-identity",
    ])
    .await;
    assert!(day.told.contains("no grants"), "{}", day.told);
    let client = day.plane.client().await;
    // The Secret, which is no part of a release; and the grant, by the next one.
    let secret = json!({"clientId": CLIENT_ID, "clientSecret": CLIENT_SECRET});
    let metadata = json!({"name": "kms-identity", "namespace": NAME});
    apply(&client, json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": secret})).await;
    let grants = json!([{"namespaceSelector": {}, "projectIds": [PROJECT]}]);
    let mut command = helm().await.command_at(&day.plane.control_plane);
    command.args(["upgrade", NAME, CHART, "--namespace", NAME, "--reuse-values", "--set-json"]);
    let told = said(command.arg(format!("instance.spec.grants={grants}"))).await.expect("an upgrade");
    assert!(!told.contains("no grants") && !told.contains("it begins"), "{told}");
    FirstDay { told, ..day }.ends_well().await;
}
