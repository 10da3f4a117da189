//! Control planes with our kinds on them.

use std::sync::{Arc, Once};

use bitbucket_connection_operator::api;
use controlplane::{ControlPlane, Printer, Programs};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, Client, Config, ResourceExt,
    api::{Patch, PatchParams},
    config::{KubeConfigOptions, Kubeconfig},
    runtime::{conditions::is_crd_established, wait::await_condition},
};
use tokio::sync::{OnceCell, Semaphore, SemaphorePermit};

use super::PATIENCE;

/// For all tests that keep to their own namespace. Ended by its undertaker together with this process.
static SHARED: OnceCell<Arc<Plane>> = OnceCell::const_new();

/// A control plane takes a core for itself while it starts: those of single tests come one after the other.
static OWN: Semaphore = Semaphore::const_new(1);

/// A control plane that knows our kinds, unless it was started bare.
pub struct Plane {
    pub control_plane: ControlPlane,
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
        let mut printer = Printer::stderr();
        let programs = Programs::find_or_build(|progress| printer.show(&progress)).await;
        let programs = programs.unwrap_or_else(|error| panic!("no control plane: {error}"));
        let control_plane = ControlPlane::start_audited(&programs).await;
        let control_plane = control_plane.unwrap_or_else(|error| panic!("no control plane: {error}"));
        Self { control_plane, _permit: permit }
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
            let established = await_condition(definitions.clone(), &name, is_crd_established());
            let established = tokio::time::timeout(PATIENCE, established).await;
            established.unwrap_or_else(|_| panic!("the CRD {name} isn't established")).expect("a watch of CRDs");
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
