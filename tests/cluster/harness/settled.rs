//! Waiting until the operator has nothing left to do about what happened before: to show that it did nothing.

use k8s_openapi::api::core::v1::Secret;
use serde_json::json;

use super::tenant::Tenant;

/// A connection that asks nobody, and its Secret.
const LAST: &str = "last-in-line";

impl Tenant {
    /// Waits until the operator has looked at all that happened to Secrets and connections of this namespace so far. A
    /// connection tells, which comes after them in each queue; its Secret holds no e-mail address, so that nobody
    /// outside is asked.
    pub async fn settled(&self) {
        // The first version may be read because of the connection; of the second tells the watch.
        for _ in 0..2 {
            let token = uuid::Uuid::new_v4().to_string();
            self.secret_with(LAST, json!({"email": "nobody", "token": token})).await;
            let metadata = self.api::<Secret>().get(LAST).await.expect("a Secret").metadata;
            let version =
                format!("{}/{}", metadata.uid.unwrap_or_default(), metadata.resource_version.unwrap_or_default());
            self.connection(LAST).secret(LAST).apply().await;
            self.until(LAST, "has seen its Secret", |bbc| {
                let token = bbc.status.as_ref().and_then(|status| status.token.as_ref());
                token.and_then(|token| token.secret_version.as_ref()) == Some(&version)
            })
            .await;
        }
        self.request_reconcile(LAST).await;
    }
}
