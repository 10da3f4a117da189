//! Tokens of ServiceAccounts, by which an instance logs in: minted afresh for each login, and kept nowhere.

use futures::future::{BoxFuture, FutureExt};
use k8s_openapi::api::{
    authentication::v1::{SelfSubjectReview, TokenRequest, TokenRequestSpec},
    core::v1::ServiceAccount,
};
use kube::{Api, Client, api::PostParams};

use crate::{
    domain::{login, names},
    kms::{NoProof, Proof, Prover},
};

/// How long a token lives, in seconds: the least that the API server gives.
const LIFE: i64 = 600;

/// Mints tokens for one ServiceAccount and one audience.
pub struct Mint {
    /// The cluster.
    pub client: Client,
    /// The namespace of the instance; no other is ever asked.
    pub namespace: String,
    /// The ServiceAccount.
    pub service_account: String,
    /// What the tokens are good for.
    pub audience: String,
}

impl Prover for Mint {
    fn prove(&self) -> BoxFuture<'_, Result<Proof, NoProof>> {
        self.mint().boxed()
    }
}

impl Mint {
    async fn mint(&self) -> Result<Proof, NoProof> {
        // A name that no ServiceAccount can have is not asked for: as part of an address it could lead elsewhere.
        if ![&self.service_account, &self.namespace].into_iter().all(|name| names::is_object_name(name)) {
            return Err(NoProof::Missing(login::no_service_account(&self.namespace, &self.service_account)));
        }
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client.clone(), &self.namespace);
        let spec = TokenRequestSpec {
            audiences: Some(vec![self.audience.clone()]),
            expiration_seconds: Some(LIFE),
            ..TokenRequestSpec::default()
        };
        let request = TokenRequest { spec: Some(spec), ..TokenRequest::default() };
        // An error of the client is not shown: it can quote the answer, and the answer is the token.
        let answer = accounts.create_token_request(&self.service_account, &PostParams::default(), &request).await;
        let failure = match answer.map(|minted| minted.status.and_then(|status| status.token)) {
            Ok(Some(token)) => return Ok(Proof::new([("jwt", token.into())])),
            Ok(None) => None,
            Err(kube::Error::Api(status)) => Some(status.code),
            Err(_) => None,
        };
        Err(match failure {
            Some(403) => {
                let me = self.me().await;
                NoProof::Denied(login::minting_denied(&self.namespace, &self.service_account, me.as_deref()))
            }
            Some(404) => NoProof::Missing(login::no_service_account(&self.namespace, &self.service_account)),
            code => NoProof::Unavailable(login::minting_failed(&self.namespace, &self.service_account, code)),
        })
    }

    /// Who the operator is, in the API server's words.
    async fn me(&self) -> Option<String> {
        let reviews: Api<SelfSubjectReview> = Api::all(self.client.clone());
        let review = reviews.create(&PostParams::default(), &SelfSubjectReview::default()).await.ok()?;
        review.status?.user_info?.username
    }
}
