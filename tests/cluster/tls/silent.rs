//! A server that takes the connection and never says a word of TLS.

use bitbucket_connection_operator::api::KmsInstance;
use serde_json::json;
use sim::Authority;
use tokio::net::TcpListener;

use super::{instance_and_connection, kms_with};
use crate::harness::{EMAIL, Kstatus, SECRET, TOKEN, World, assert_condition, condition, kstatus};

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_never_answers_the_handshake_is_given_up() {
    let world = World::start().await;
    world.secret(SECRET, EMAIL, TOKEN).await;
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let host = format!("https://{}", silent.local_addr().expect("bound"));
    let listening = tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = silent.accept().await {
            held.push(stream);
        }
    });
    instance_and_connection(&world, "silent", json!({"host": host})).await;
    let unreachable = |instance: &KmsInstance| condition(instance, "Ready").1 == "Unreachable";
    let instance = world.until_instance("silent", "is Unreachable", unreachable).await;
    assert_condition(&instance, "Ready", "Unknown", "Unreachable", &["can't be reached (no connection)", "spec.host"]);
    assert_eq!(kstatus(&instance), Kstatus::InProgress);
    let waiting = world.not_ready("silent", "KmsUnavailable").await;
    assert_eq!(kstatus(&waiting), Kstatus::InProgress);

    let authority = Authority::new("a CA");
    let kms = kms_with(&world.bitbucket, authority.issue()).await;
    world.config_map("kms-ca", json!({"ca.crt": authority.pem()})).await;
    let way = super::way_to(&kms, super::in_config_map("kms-ca"));
    let change = json!({"spec": way});
    world.patch_object::<KmsInstance>("silent", change).await;
    world.ready("silent").await;
    listening.abort();
}
