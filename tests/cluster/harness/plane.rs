//! Control planes with our kinds on them.

use std::sync::{Arc, Once};

use bitbucket_connection_operator::api;
use controlplane::{ControlPlane, Printer, Programs};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, Client, Config, ResourceExt,
    api::{ApiResource, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use tokio::sync::{OnceCell, Semaphore, SemaphorePermit};

use super::{PAUSE, failures::tell_at_once, waiting::in_time, writes::Audit};

/// For all tests that keep to their own namespace. Ended by its undertaker together with this process.
static SHARED: OnceCell<Arc<Plane>> = OnceCell::const_new();

/// A control plane takes a core for itself while it starts: those of single tests come one after the other.
static OWN: Semaphore = Semaphore::const_new(1);

/// A control plane that knows our kinds, unless it was started bare.
#[expect(clippy::struct_field_names, reason = "the field is a control plane, and this is what it is with our kinds")]
pub struct Plane {
    pub control_plane: ControlPlane,
    /// What its API server noted.
    pub audit: Audit,
    /// Given back once the control plane is gone: fields are dropped in their order.
    _permit: Option<SemaphorePermit<'static>>,
}

impl Plane {
    /// The one that all tests share.
    pub async fn shared() -> Arc<Self> {
        Arc::clone(SHARED.get_or_init(|| async { Arc::new(Self::start(None).await.with_kinds().await) }).await)
    }

    /// One for a single test, which ends with it.
    pub async fn own() -> Arc<Self> {
        let permit = OWN.acquire().await.expect("a semaphore that nobody closes");
        Arc::new(Self::start(Some(permit)).await.with_kinds().await)
    }

    /// One for a single test that doesn't know our kinds yet.
    pub async fn bare() -> Self {
        let permit = OWN.acquire().await.expect("a semaphore that nobody closes");
        Self::start(Some(permit)).await
    }

    async fn start(permit: Option<SemaphorePermit<'static>>) -> Self {
        tell_at_once();
        let mut printer = Printer::stderr();
        let programs = Programs::find_or_build(|progress| printer.show(&progress)).await;
        let programs = programs.unwrap_or_else(|error| panic!("no control plane: {error}"));
        let control_plane = ControlPlane::start_audited(&programs).await;
        let control_plane = control_plane.unwrap_or_else(|error| panic!("no control plane: {error}"));
        let audit = Audit::new(control_plane.audit_log());
        Self { control_plane, audit, _permit: permit }
    }

    async fn with_kinds(self) -> Self {
        self.install_kinds().await;
        self
    }

    /// A client as admin. It belongs to the runtime of the test that asks: clients are not shared.
    pub async fn client(&self) -> Client {
        install_crypto();
        let kubeconfig = Kubeconfig::read_from(self.control_plane.kubeconfig()).expect("a kubeconfig");
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
        Client::try_from(config.expect("a kubeconfig that can be used")).expect("a client")
    }

    /// Installs our kinds, and waits until they can be used.
    pub async fn install_kinds(&self) {
        let client = self.client().await;
        let definitions: Api<CustomResourceDefinition> = Api::all(client);
        for definition in api::crds() {
            let name = definition.name_any();
            let applied = definitions.patch(&name, &PatchParams::apply("tests"), &Patch::Apply(&definition)).await;
            applied.unwrap_or_else(|error| panic!("the API server refuses the CRD {name}: {error}"));
        }
        self.until_kinds_are_served().await;
    }

    /// Waits until our kinds can be used, after somebody installed them: that they are established, their conditions tell
    /// a moment before the API server takes the first object.
    pub async fn until_kinds_are_served(&self) {
        let client = self.client().await;
        let one = ListParams::default().limit(1);
        for definition in api::crds() {
            let (group, plural) = (&definition.spec.group, &definition.spec.names.plural);
            let kind = GroupVersionKind::gvk(group, &definition.spec.versions[0].name, &definition.spec.names.kind);
            let objects: Api<DynamicObject> =
                Api::all_with(client.clone(), &ApiResource::from_gvk_with_plural(&kind, plural));
            // kubectl and Helm look there.
            let version = format!("{group}/{}", definition.spec.versions[0].name);
            let is_told = async || {
                let told = client.list_api_group_resources(&version).await;
                told.is_ok_and(|told| told.resources.iter().any(|resource| resource.name == *plural))
            };
            let served = async {
                while objects.list(&one).await.is_err() || !is_told().await {
                    tokio::time::sleep(PAUSE).await;
                }
            };
            in_time(&format!("{plural} are served"), served).await;
        }
    }
}

/// TLS of this process: the operator does the same in its main.
pub fn install_crypto() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        // Fails only if somebody else was faster, with the same.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}
