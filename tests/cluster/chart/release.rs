//! A release from its first day to its last: installed from a former chart, upgraded, rolled back, uninstalled and taken
//! over, and the objects of people outlive all of it.

use std::path::{Path, PathBuf};

use bitbucket_connection_operator::api::{BitbucketConnection, ClusterKmsInstance};
use k8s_openapi::{
    api::{
        apps::v1::Deployment,
        core::v1::{Secret, ServiceAccount},
        rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding},
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{Api, Client, ResourceExt};
use serde_json::json;

use crate::harness::{
    Plane,
    chart::{CHART, helm, install, said, values},
    rights::{NAME, apply, make_namespace},
};

/// The chart and the operator are released together.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// A cluster without our kinds, and Helm as its admin.
struct Site {
    plane: Plane,
    client: Client,
}

impl Site {
    async fn new() -> Self {
        let plane = Plane::bare().await;
        let client = plane.client().await;
        make_namespace(&client, "team-a").await;
        Self { plane, client }
    }

    async fn helm(&self, args: &[&str]) -> Result<String, String> {
        said(helm().await.command_at(&self.plane.control_plane).args(args)).await
    }

    /// Helm where it must succeed.
    async fn done(&self, args: &[&str]) -> String {
        self.helm(args).await.unwrap_or_else(|complaint| panic!("helm {args:?}: {complaint}"))
    }

    async fn kind(&self) -> CustomResourceDefinition {
        let kinds: Api<CustomResourceDefinition> = Api::all(self.client.clone());
        kinds.get("bitbucketconnections.connections.kms.hanzo.ai").await.expect("the kind")
    }

    /// The short names of the kind, by which charts are told apart here.
    async fn short_names(&self) -> Vec<String> {
        self.kind().await.spec.names.short_names.unwrap_or_default()
    }

    async fn image(&self) -> String {
        let deployments: Api<Deployment> = Api::namespaced(self.client.clone(), NAME);
        let spec = deployments.get(NAME).await.expect("the Deployment").spec;
        spec.template.spec.expect("a pod").containers.remove(0).image.expect("an image")
    }

    /// What people made: a connection and its Secret.
    async fn make_objects(&self) {
        self.plane.until_kinds_are_served().await;
        let metadata = json!({"name": "payments", "namespace": "team-a"});
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"token": "a"}});
        let connection = json!({
            "apiVersion": "connections.kms.hanzo.ai/v1alpha1", "kind": "BitbucketConnection", "metadata": metadata,
            "spec": {
                "projectId": "7ffbb072-2575-495a-b5b0-127f88caef78", "secretRef": {"name": "payments"},
                "scopes": {"useCases": ["SecretScanning"]},
            },
        });
        for object in [secret, connection] {
            apply(&self.client, object).await;
        }
    }

    /// The uids of what must outlive everything: connection, Secret, instance.
    async fn objects(&self) -> [Option<String>; 3] {
        let connections: Api<BitbucketConnection> = Api::namespaced(self.client.clone(), "team-a");
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), "team-a");
        let instances: Api<ClusterKmsInstance> = Api::all(self.client.clone());
        [
            connections.get_opt("payments").await.expect("an answer").and_then(|it| it.uid()),
            secrets.get_opt("payments").await.expect("an answer").and_then(|it| it.uid()),
            instances.get_opt("default").await.expect("an answer").and_then(|it| it.uid()),
        ]
    }
}

/// The chart as it might have been: another version, and a kind with another short name.
fn former_chart(plane: &Plane) -> PathBuf {
    let former = plane.control_plane.dir().join("former-chart");
    copy(Path::new(CHART), &former);
    let edit = |file: &str, from: &str, to: &str| {
        let path = former.join(file);
        let text = std::fs::read_to_string(&path).expect("a file of the chart");
        assert!(text.contains(from), "{file} doesn't say {from:?} any more");
        std::fs::write(&path, text.replace(from, to)).expect("a file of the chart");
    };
    edit("Chart.yaml", &format!("ersion: {VERSION}"), "ersion: 0.0.9");
    edit("files/crds/connections.kms.hanzo.ai_bitbucketconnections.yaml", "    - bbc\n", "    - oldbbc\n");
    former
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), &target).expect("a copy");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_outlive_upgrade_rollback_and_uninstall() {
    let site = Site::new().await;
    let former = former_chart(&site.plane);
    let former = former.to_str().expect("a path");
    let file = values("cluster-wide");
    let usual = ["--namespace", NAME, "--values", &file];

    // The kinds and an instance of them, in one release, where neither was there before.
    let args = [&[NAME, former, "--create-namespace"], &usual[..]].concat();
    let told = install(&site.plane.control_plane, &args).await.expect("an installation");
    for next in ["rollout status deployment/bitbucket-connection-operator", "get clusterkmsinstance default", "get bbc"]
    {
        assert!(told.contains(next), "{told}");
    }
    assert_eq!(site.short_names().await, ["oldbbc"]);
    assert!(site.image().await.ends_with(":0.0.9"));
    site.make_objects().await;
    let made = site.objects().await;
    assert!(made.iter().all(Option::is_some), "{made:?}");

    site.done(&[&["upgrade", NAME, CHART], &usual[..]].concat()).await;
    assert_eq!((site.short_names().await, site.objects().await), (vec!["bbc".to_owned()], made.clone()));
    assert!(site.image().await.ends_with(&format!(":{VERSION}")));
    // The instance belongs to the release now, and follows its values.
    let manifest = site.done(&["get", "manifest", NAME, "--namespace", NAME]).await;
    assert!(manifest.contains("kind: ClusterKmsInstance"), "{manifest}");
    let more = ["--set", "instance.spec.organizationSlug=acme"];
    site.done(&[&["upgrade", NAME, CHART], &usual[..], &more].concat()).await;
    let instances: Api<ClusterKmsInstance> = Api::all(site.client.clone());
    let instance = instances.get("default").await.expect("the instance");
    assert_eq!(serde_json::to_value(&instance.spec).expect("JSON")["organizationSlug"], "acme");
    assert_eq!(site.objects().await, made);

    site.done(&["rollback", NAME, "1", "--namespace", NAME]).await;
    assert_eq!((site.short_names().await, site.objects().await), (vec!["oldbbc".to_owned()], made.clone()));
    assert!(site.image().await.ends_with(":0.0.9"));
    site.done(&[&["upgrade", NAME, CHART], &usual[..]].concat()).await;

    site.done(&["uninstall", NAME, "--namespace", NAME]).await;
    assert_eq!((site.short_names().await, site.objects().await), (vec!["bbc".to_owned()], made.clone()));
    let here = |name: String| name.contains(NAME);
    let deployments: Api<Deployment> = Api::namespaced(site.client.clone(), NAME);
    let accounts: Api<ServiceAccount> = Api::namespaced(site.client.clone(), NAME);
    let roles: Api<Role> = Api::namespaced(site.client.clone(), NAME);
    let bindings: Api<RoleBinding> = Api::namespaced(site.client.clone(), NAME);
    let cluster_roles: Api<ClusterRole> = Api::all(site.client.clone());
    let cluster_bindings: Api<ClusterRoleBinding> = Api::all(site.client.clone());
    let all = Default::default();
    let left = [
        deployments.list(&all).await.expect("a list").iter().any(|it| here(it.name_any())),
        accounts.list(&all).await.expect("a list").iter().any(|it| here(it.name_any())),
        roles.list(&all).await.expect("a list").iter().any(|it| here(it.name_any())),
        bindings.list(&all).await.expect("a list").iter().any(|it| here(it.name_any())),
        cluster_roles.list(&all).await.expect("a list").iter().any(|it| here(it.name_any())),
        cluster_bindings.list(&all).await.expect("a list").iter().any(|it| here(it.name_any())),
    ];
    assert_eq!(left, [false; 6], "the operator and its rights are gone");

    // The same release takes up what stayed.
    site.done(&[&["install", NAME, CHART], &usual[..]].concat()).await;
    assert_eq!(site.objects().await, made);
    site.done(&["uninstall", NAME, "--namespace", NAME]).await;
    // Another one is told whose it is, and takes it over when told to.
    let another = ["install", "another", CHART, "--namespace", "team-a"];
    let complaint = site.helm(&another).await.expect_err("the kinds belong to a release of another name");
    assert!(complaint.contains("release-name") && complaint.contains(NAME), "{complaint}");
    site.done(&[&another[..], &["--take-ownership"]].concat()).await;
    assert_eq!(site.objects().await, made);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_failed_to_come_along_is_made_up_for() {
    let site = Site::new().await;
    let file = values("cluster-wide");
    let usual = [NAME, CHART, "--namespace", NAME, "--create-namespace", "--values", &file];
    // As where the API server doesn't serve the kind yet: the hook fails when all else is there.
    let refused = format!("instance.spec.organizationSlug={}", "x".repeat(400));
    let complaint = site.helm(&[&["install"], &usual[..], &["--set", &refused]].concat()).await.expect_err("a refusal");
    // Or it was so indeed.
    let why = ["organizationSlug", "no matches for kind"];
    assert!(complaint.contains("failed post-install") && why.iter().any(|why| complaint.contains(why)), "{complaint}");
    site.make_objects().await;
    assert!(matches!(site.objects().await, [Some(_), Some(_), None]));
    let complaint = site.helm(&[&["install"], &usual[..]].concat()).await.expect_err("a release that is there");
    assert!(complaint.contains("still in use"), "{complaint}");

    site.done(&[&["upgrade", "--install"], &usual[..]].concat()).await;
    let made = site.objects().await;
    assert!(made.iter().all(Option::is_some), "{made:?}");
    let manifest = site.done(&["get", "manifest", NAME, "--namespace", NAME]).await;
    assert!(manifest.contains("kind: ClusterKmsInstance"), "{manifest}");
}

#[tokio::test(flavor = "multi_thread")]
async fn kinds_that_come_from_elsewhere_are_left_alone() {
    let site = Site::new().await;
    let mut kubectl = site.plane.control_plane.kubectl();
    let crds = format!("{}/crds", env!("CARGO_MANIFEST_DIR"));
    said(kubectl.args(["apply", "--server-side", "-k", &crds])).await.expect("the kinds");
    let uid = site.kind().await.uid();
    // Two releases, each with namespaces of its own.
    make_namespace(&site.client, "team-b").await;
    for team in ["team-a", "team-b"] {
        let serves = format!("watchNamespaces={{{team}}},ownerId={team},rbac.aggregate=false,crds.install=false");
        let args = ["install", team, CHART, "--namespace", "operators", "--create-namespace", "--set", &serves];
        let told = site.done(&args).await;
        assert!(told.contains("leave the kinds out") && told.contains("kind: KmsInstance"), "{told}");
    }
    for team in ["team-a", "team-b"] {
        site.done(&["uninstall", team, "--namespace", "operators"]).await;
    }
    assert_eq!(site.kind().await.uid(), uid);
    // Who wants to lose everything says so.
    let args = ["install", NAME, CHART, "--namespace", "operators", "--take-ownership", "--set", "crds.keep=false"];
    site.done(&args).await;
    site.done(&["uninstall", NAME, "--namespace", "operators", "--wait"]).await;
    let kinds: Api<CustomResourceDefinition> = Api::all(site.client.clone());
    assert_eq!(kinds.list(&Default::default()).await.expect("a list").items.len(), 0);
}
