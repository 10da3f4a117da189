//! Whom an instance trusts: CAs of its own, certificates that are no good, and what becomes of them.

mod bitbucket;
mod silent;

use bitbucket_connection_operator::api::{ClusterKmsInstance, KmsInstance};
use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::{Value, json};
use sim::{Authority, Bitbucket, Certificates, Kms};

use crate::harness::{
    CLIENT_ID, CLIENT_SECRET, EMAIL, Kstatus, PROJECT, SECRET, TOKEN, World, assert_condition, condition, kstatus,
};

/// A KMS with this certificate, which knows the identity and the project.
async fn kms_with(bitbucket: &Bitbucket, certificates: Certificates) -> Kms {
    let kms = Kms::start_tls(bitbucket, certificates).await;
    kms.add_identity(CLIENT_ID, CLIENT_SECRET);
    kms.add_project(PROJECT);
    kms
}

/// The way to this KMS, as a change of an instance's spec: trusted by what is in this ConfigMap or Secret.
fn way_to(kms: &Kms, ca_ref: Value) -> Value {
    json!({"host": kms.url(), "tls": {"caRef": ca_ref}})
}

fn in_config_map(name: &str) -> Value {
    json!({"kind": "ConfigMap", "name": name})
}

/// A KmsInstance of this name with the usual credentials, and a connection of this name that uses it.
async fn instance_and_connection(world: &World, name: &str, way: Value) {
    world.instance_secret().await;
    let mut spec = way;
    spec["auth"] = json!({"universal": {"secretRef": {"name": "kms-credentials"}}});
    world
        .apply(json!({
            "apiVersion": "connections.kms.hanzo.ai/v1alpha1", "kind": "KmsInstance", "metadata": {"name": name},
            "spec": spec,
        }))
        .await;
    world.connection(name).change(json!({"kmsRef": {"name": name}})).apply().await;
}

/// The instance doesn't trust the server, and says how that is mended; its connection waits.
async fn does_not_trust(world: &World, name: &str) {
    let instance = world.until_instance_says(name, "TlsFailed").await;
    let words = ["expired", "another name", "spec.tls.caRef", "Nothing was sent"];
    assert_condition(&instance, "Ready", "False", "TlsFailed", &words);
    assert_eq!(kstatus(&instance), Kstatus::Failed, "{name}");
    let connection = world.not_ready(name, "KmsInstanceNotReady").await;
    assert_condition(&connection, "Synced", "False", "KmsInstanceNotReady", &["TlsFailed", "spec.tls.caRef"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ca_is_trusted_for_the_instance_that_names_it_and_for_no_other() {
    let world = World::start().await;
    world.secret(SECRET, EMAIL, TOKEN).await;
    let (authority, another) = (Authority::new("a CA"), Authority::new("another CA"));
    let kms = kms_with(&world.bitbucket, authority.issue()).await;
    // One that names no CA, and one that names another.
    world.config_map("another", json!({"ca.crt": another.pem()})).await;
    instance_and_connection(&world, "no-ca", json!({"host": kms.url()})).await;
    instance_and_connection(&world, "another-ca", way_to(&kms, in_config_map("another"))).await;

    let bundle = format!("# Ours, and theirs\n{}\n{}", another.pem(), authority.pem());
    world.config_map("plain", json!({"ca.crt": authority.pem()})).await;
    world.config_map("keyed", json!({"ca.crt": "none", "bundle.pem": bundle})).await;
    world.secret_with("secret", json!({"ca.crt": authority.pem()})).await;
    world.secret_with("keyed-secret", json!({"chain": bundle})).await;
    let table = [
        ("plain", in_config_map("plain")),
        ("keyed", json!({"kind": "ConfigMap", "name": "keyed", "key": "bundle.pem"})),
        ("secret", json!({"kind": "Secret", "name": "secret"})),
        ("keyed-secret", json!({"kind": "Secret", "name": "keyed-secret", "key": "chain"})),
    ];
    for (name, ca_ref) in &table {
        instance_and_connection(&world, name, way_to(&kms, ca_ref.clone())).await;
    }
    for (name, _) in &table {
        world.ready(name).await;
        assert_eq!(kstatus(&world.until_instance_says(name, "Authenticated").await), Kstatus::Current, "{name}");
        assert!(kms.connection(name).is_some(), "{name}");
    }
    // The CAs of the system are still trusted; this one alone isn't given to the others.
    for name in ["no-ca", "another-ca"] {
        does_not_trust(&world, name).await;
    }
    assert_eq!((kms.logins(), kms.connections().len()), (table.len(), table.len()));
    world.assert_silent(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_instance_finds_its_ca_in_the_namespace_that_it_names() {
    let world = World::cluster_wide().await;
    let authority = Authority::new("a CA");
    let kms = kms_with(&world.bitbucket, authority.issue()).await;
    let team = world.tenant("team-b").await;
    team.secret(SECRET, EMAIL, TOKEN).await;
    team.config_map("kms-ca", json!({"ca.crt": Authority::new("a CA of the team's own").pem()})).await;
    team.connection("payments").apply().await;
    let until_says = async |reason: &str| {
        let holds = |instance: &ClusterKmsInstance| condition(instance, "Ready").1 == reason;
        world.until_cluster_instance("default", &format!("says {reason}"), holds).await
    };
    world.cluster_instance_with(way_to(&kms, in_config_map("kms-ca"))).await;
    let words = ["ConfigMap kms-ca in namespace", world.namespace(), "key ca.crt"];
    assert_condition(&until_says("SecretNotFound").await, "Ready", "False", "SecretNotFound", &words);
    let waiting = team.not_ready("payments", "KmsInstanceNotReady").await;
    let message = condition(&waiting, "Synced").2;
    assert!(!message.contains(world.namespace()) && !message.contains("kms-ca"), "{message}");
    assert!(kms.journal().is_empty());

    world.config_map("kms-ca", json!({"ca.crt": authority.pem()})).await;
    team.ready("payments").await;
    // The same from a Secret.
    world.secret_with("kms-ca", json!({"tls.crt": authority.pem()})).await;
    let ca_ref = json!({"kind": "Secret", "name": "kms-ca", "key": "tls.crt"});
    world.cluster_instance_with(way_to(&kms, ca_ref)).await;
    world.delete_object::<ConfigMap>("kms-ca").await;
    let secret = world.api::<k8s_openapi::api::core::v1::Secret>().get("kms-ca").await.expect("the Secret");
    let uid = secret.metadata.uid.unwrap_or_default();
    let from_secret = |instance: &ClusterKmsInstance| {
        let version = instance.status.as_ref().and_then(|status| status.ca_version.as_deref());
        condition(instance, "Ready").1 == "Authenticated" && version.is_some_and(|version| version.starts_with(&uid))
    };
    world.until_cluster_instance("default", "trusts what the Secret says", from_secret).await;
    team.request_reconcile("payments").await;
    team.ready("payments").await;
    assert_eq!(kms.connections().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_not_trusted_is_refused_before_the_first_byte() {
    let world = World::start().await;
    world.secret(SECRET, EMAIL, TOKEN).await;
    let authority = Authority::new("a CA");
    world.config_map("kms-ca", json!({"ca.crt": authority.pem()})).await;
    let table = [
        ("unknown", Authority::new("an unknown CA").issue()),
        ("expired", authority.issue_expired()),
        ("not-yet-valid", authority.issue_for_later()),
        ("another-name", authority.issue_for("kms.example.com")),
    ];
    let mut servers = Vec::new();
    for (name, certificates) in table {
        let kms = kms_with(&world.bitbucket, certificates).await;
        instance_and_connection(&world, name, way_to(&kms, in_config_map("kms-ca"))).await;
        servers.push((name, kms));
    }
    for (name, kms) in &servers {
        does_not_trust(&world, name).await;
        assert!(kms.journal().is_empty(), "{name}");
        // The cure is outside the cluster: a person tells, or five minutes pass.
        kms.show(authority.issue());
        world.request_reconcile(name).await;
    }
    for (name, kms) in &servers {
        world.ready(name).await;
        world.until_instance_says(name, "Authenticated").await;
        assert_eq!(kms.connections().len(), 1, "{name}");
    }
    world.assert_silent(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_be_no_ca_is_told_and_mended() {
    let world = World::start().await;
    world.secret(SECRET, EMAIL, TOKEN).await;
    let authority = Authority::new("a CA");
    let kms = kms_with(&world.bitbucket, authority.issue()).await;
    let key = "-----BEGIN PRIVATE KEY-----\nY2FuYXJ5LW9mLWEtcHJpdmF0ZS1rZXk=\n-----END PRIVATE KEY-----\n";
    let cut = &authority.pem()[..authority.pem().len() / 2];
    let junk = "-----BEGIN CERTIFICATE-----\nY2FuYXJ5LW9mLWp1bms=\n-----END CERTIFICATE-----\n";
    let one_is_junk = format!("{}{junk}", authority.pem());
    let table = [
        ("no-key", json!({"ca.pem": authority.pem()}), "has no key ca.crt"),
        ("blank", json!({"ca.crt": " \n"}), "has no key ca.crt, or nothing in it"),
        ("words", json!({"ca.crt": "the CA of our company"}), "can't be read as CA certificates"),
        ("key", json!({"ca.crt": key}), "can't be read as CA certificates"),
        ("cut", json!({"ca.crt": cut}), "can't be read as CA certificates"),
        ("junk", json!({"ca.crt": junk}), "can't be read as CA certificates"),
        ("one-is-junk", json!({"ca.crt": one_is_junk}), "can't be read as CA certificates"),
    ];
    for (name, data, _) in &table {
        world.config_map(name, data.clone()).await;
        instance_and_connection(&world, name, way_to(&kms, in_config_map(name))).await;
    }
    for (name, _, words) in &table {
        let instance = world.until_instance_says(name, "CaInvalid").await;
        let place = format!("ConfigMap {name} in namespace {}", world.namespace());
        assert_condition(&instance, "Ready", "False", "CaInvalid", &[words, &place, "ca.crt", "PEM"]);
        assert_eq!(kstatus(&instance), Kstatus::Failed, "{name}");
        let connection = world.not_ready(name, "KmsInstanceNotReady").await;
        assert_condition(&connection, "Synced", "False", "KmsInstanceNotReady", &["CaInvalid", words]);
    }
    assert!(kms.journal().is_empty());
    for (name, ..) in &table {
        world.config_map(name, json!({"ca.crt": authority.pem()})).await;
    }
    for (name, ..) in &table {
        world.ready(name).await;
        world.until_instance_says(name, "Authenticated").await;
    }
    // What worked and is broken: the connection waits, and can go all the same.
    world.config_map("words", json!({"ca.crt": "the CA of our company"})).await;
    world.not_ready("words", "KmsInstanceNotReady").await;
    world.delete("words").await;
    world.until_gone("words").await;
    assert!(kms.connection("words").is_none());
    world.assert_silent(&["Y2FuYXJ5LW9mLWEtcHJpdmF0ZS1rZXk"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ca_that_is_not_there_is_waited_for() {
    let world = World::start().await;
    world.secret(SECRET, EMAIL, TOKEN).await;
    let authority = Authority::new("a CA");
    let kms = kms_with(&world.bitbucket, authority.issue()).await;
    // The namesake of the other kind is another object.
    world.secret_with("by-map", json!({"ca.crt": authority.pem()})).await;
    world.config_map("by-secret", json!({"ca.crt": authority.pem()})).await;
    for (name, kind) in [("by-map", "ConfigMap"), ("by-secret", "Secret")] {
        instance_and_connection(&world, name, way_to(&kms, json!({"kind": kind, "name": name}))).await;
        let instance = world.until_instance_says(name, "SecretNotFound").await;
        let words = [&format!("no {kind} {name} in namespace {}", world.namespace()), "key ca.crt", "Create it"];
        assert_condition(&instance, "Ready", "False", "SecretNotFound", &words);
        assert_eq!(kstatus(&instance), Kstatus::InProgress, "{name}");
        world.not_ready(name, "KmsInstanceNotReady").await;
    }
    assert!(kms.journal().is_empty());
    world.config_map("by-map", json!({"ca.crt": authority.pem()})).await;
    world.secret_with("by-secret", json!({"ca.crt": authority.pem()})).await;
    for name in ["by-map", "by-secret"] {
        world.ready(name).await;
    }

    // Gone again, and here again, by another: the session lives on.
    let logins = kms.logins();
    world.delete_object::<ConfigMap>("by-map").await;
    world.until_instance_says("by-map", "SecretNotFound").await;
    world.not_ready("by-map", "KmsInstanceNotReady").await;
    world.config_map("by-map", json!({"ca.crt": authority.pem()})).await;
    world.ready("by-map").await;
    assert_eq!((kms.logins(), kms.connections().len()), (logins, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rotation_of_a_ca_is_followed() {
    let world = World::start().await;
    world.secret(SECRET, EMAIL, TOKEN).await;
    let (old, new, last) = (Authority::new("the old CA"), Authority::new("the new CA"), Authority::new("the last CA"));
    let kms = kms_with(&world.bitbucket, old.issue()).await;
    let bundle = async |authorities: &[&Authority]| {
        let pem: String = authorities.iter().map(|authority| authority.pem()).collect();
        world.config_map("kms-ca", json!({"ca.crt": pem})).await;
        let map = world.api::<ConfigMap>().get("kms-ca").await.expect("the ConfigMap").metadata;
        format!("{}/{}", map.uid.unwrap_or_default(), map.resource_version.unwrap_or_default())
    };
    let knows = async |version: String| {
        let holds = |instance: &KmsInstance| {
            instance.status.as_ref().and_then(|status| status.ca_version.as_ref()) == Some(&version)
        };
        world.until_instance("kms", "knows the CAs", holds).await
    };
    let first = bundle(&[&old]).await;
    world.instance_with(way_to(&kms, in_config_map("kms-ca"))).await;
    world.connection("payments").apply().await;
    world.ready("payments").await;
    knows(first).await;

    // As it should be done: the new CA first, then the certificate, then without the old CA.
    knows(bundle(&[&old, &new]).await).await;
    kms.show(new.issue());
    let seen = world.request_reconcile("payments").await;
    assert_condition(&seen, "Synced", "True", "InSync", &[]);
    knows(bundle(&[&new]).await).await;
    let seen = world.request_reconcile("payments").await;
    assert_condition(&seen, "Synced", "True", "InSync", &[]);
    assert_eq!(kms.logins(), 3, "each set of CAs has a session");

    // The same CAs in another version are no others.
    let relabelled = json!({"metadata": {"labels": {"some": "label"}}});
    let map = world.patch_object::<ConfigMap>("kms-ca", relabelled).await.metadata;
    knows(format!("{}/{}", map.uid.unwrap_or_default(), map.resource_version.unwrap_or_default())).await;
    assert_eq!(kms.logins(), 3);

    // The wrong way round: the session is no reason to go on trusting.
    kms.show(last.issue());
    let asked = kms.journal().len();
    world.request_reconcile("payments").await;
    world.not_ready("payments", "KmsInstanceNotReady").await;
    world.until_instance_says("kms", "TlsFailed").await;
    assert_eq!(kms.journal().len(), asked, "nothing was sent");
    bundle(&[&last]).await;
    world.ready("payments").await;
    world.until_instance_says("kms", "Authenticated").await;
    assert_eq!((kms.connections().len(), kms.writes()), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_ca_is_noticed_across_a_restart() {
    let world = World::start().await;
    world.secret(SECRET, EMAIL, TOKEN).await;
    let (authority, another) = (Authority::new("a CA"), Authority::new("another CA"));
    let kms = kms_with(&world.bitbucket, authority.issue()).await;
    world.config_map("kms-ca", json!({"ca.crt": authority.pem()})).await;
    world.instance_with(way_to(&kms, in_config_map("kms-ca"))).await;
    world.connection("payments").apply().await;
    world.ready("payments").await;
    world.until_instance_says("kms", "Authenticated").await;
    let asked = kms.journal().len();
    world.operator.kill().await;
    world.config_map("kms-ca", json!({"ca.crt": another.pem()})).await;
    world.operator.start().await;
    world.until_instance_says("kms", "TlsFailed").await;
    assert_eq!(kms.journal().len(), asked);
}
