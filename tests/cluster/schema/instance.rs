//! Each field and each rule of a KmsInstance and of a ClusterKmsInstance.

use serde_json::{Value, json};

use super::table::{ABSENT, LEADING_ELSEWHERE, Place, Row, bad, good, with};
use crate::harness::{PROJECT, World};

const HOST: &str = "host must be a URL such as https://kms.example.com, without path, query or user";
const AUTH: &str = "say how to log in, such as auth: {universal: {secretRef: {name: kms-credentials}}} with a Secret that \
                    holds clientId and clientSecret";
const METHOD: &str = "auth needs exactly one method: universal, token, ldap, jwt, kubernetes or oidc; such as \
                      universal: {secretRef: {name: …}} with a Secret that holds clientId and clientSecret";
const IDENTITY: &str = "identityId must be the id of a machine identity, as its page in the KMS shows it";
const ACCOUNT: &str = "serviceAccountRef.name must be the name of a ServiceAccount";
const AUDIENCE: &str = "audience must be what the machine identity in the KMS expects, such as https://kms.example.com; \
                        one word";
const KEY: &str =
    "must be the name of a key in the Secret: letters, digits, '-', '_' or '.'; leave it out for the default";
const CA_KIND: &str = "caRef.kind must be ConfigMap or Secret";
const CA_NAME: &str = "caRef.name must be the name of a ConfigMap or Secret";
const CA_KEY: &str = "must be the name of a key in the ConfigMap or Secret: letters, digits, '-', '_' or '.'; leave it out for \
                      the default";
const SLUG: &str =
    "organizationSlug must be the slug of an organization, such as acme (organization settings in the KMS)";
const LABEL: &str = "key must be the name of a label, such as team or example.com/team";
const LABEL_VALUE: &str = "must be the value of a label: letters, digits, '-', '_' and '.'";
const NAMESPACE: &str = "namespace must be the name of the namespace that holds what auth and tls refer to";
const GRANT: &str =
    "a grant needs projectIds (\"*\" for any project) or organizationScope: true, else it grants nothing";
const PROJECT_IDS: &str = "projectIds holds ids of KMS projects (UUIDs), or \"*\" for any project";
const REQUIREMENT: &str =
    "a requirement has the operator In or NotIn with values, or Exists or DoesNotExist without values";

fn namespaced() -> Value {
    json!({
        "apiVersion": "connections.kms.hanzo.ai/v1alpha1",
        "kind": "KmsInstance",
        "metadata": {"name": "kms"},
        "spec": {"auth": {"universal": {"secretRef": {"name": "kms-credentials"}}}},
    })
}

/// Cluster-scoped objects are shared with other tests; the rows create none for good.
fn cluster() -> Value {
    let changes = json!({"kind": "ClusterKmsInstance", "metadata.name": "default", "spec.namespace": "kms-system"});
    with(&namespaced(), &changes)
}

/// What both kinds have.
fn common() -> Vec<Row> {
    let mut rows = vec![
        good(json!({})),
        good(json!({"spec.host": null, "spec.organizationSlug": null})),
        bad(json!({"spec.host": "x".repeat(513)}), "spec.host", "Too long: may not be more than 512"),
        bad(json!({"spec.auth": ABSENT}), "spec.auth", AUTH),
        bad(json!({"spec.auth": null}), "spec.auth", AUTH),
        bad(json!({"spec.auth": {}}), "spec.auth", METHOD),
        bad(json!({"spec.auth.universal": null}), "spec.auth", METHOD),
        bad(json!({"spec.auth": {"magic": {}}}), "", "unknown field \"spec.auth.magic\""),
        bad(json!({"spec.auth.token": {"secretRef": {"name": "a"}}}), "spec.auth", METHOD),
        bad(json!({"spec.auth.universal": {}}), "spec.auth.universal.secretRef", "Required value"),
        bad(json!({"spec.auth.universal.secretRef": {}}), "spec.auth.universal.secretRef.name", "Required value"),
        bad(
            json!({"spec.auth.universal.secretRef.name": ""}),
            "spec.auth.universal.secretRef.name",
            "secretRef.name must be the name of a Secret",
        ),
        bad(
            json!({"spec.auth.universal.secretRef.name": "a".repeat(254)}),
            "spec.auth.universal.secretRef.name",
            "Too long: may not be more than 253",
        ),
        bad(
            json!({"spec.auth.universal.secretRef.namespace": "other"}),
            "",
            "unknown field \"spec.auth.universal.secretRef.namespace\"",
        ),
        good(
            json!({"spec.auth.universal.secretRef.clientIdKey": "id", "spec.auth.universal.secretRef.clientSecretKey": "s"}),
        ),
        bad(json!({"spec.auth.universal.secretRef.clientIdKey": ""}), "spec.auth.universal.secretRef.clientIdKey", KEY),
        bad(
            json!({"spec.auth.universal.secretRef.clientSecretKey": "a b"}),
            "spec.auth.universal.secretRef.clientSecretKey",
            KEY,
        ),
        good(json!({"spec.organizationSlug": "acme-corp"})),
        good(json!({"spec.organizationSlug": "a".repeat(64)})),
        bad(json!({"spec.organizationSlug": "Acme Corp"}), "spec.organizationSlug", SLUG),
        bad(json!({"spec.organizationSlug": ""}), "spec.organizationSlug", SLUG),
        bad(json!({"spec.organizationSlug": "a".repeat(65)}), "spec.organizationSlug", SLUG),
        bad(
            json!({"spec.organizationSlug": "a".repeat(254)}),
            "spec.organizationSlug",
            "Too long: may not be more than 253",
        ),
    ];
    let universal = "spec.auth.universal.secretRef.name";
    let words = "secretRef.name must be the name of a Secret";
    rows.extend(LEADING_ELSEWHERE.map(|name| bad(json!({universal: name}), universal, words)));
    let hosts = [
        "https://app.kms.hanzo.ai",
        "https://kms.example.com/",
        "https://kms.example.com:8443",
        "http://127.0.0.1:8080",
        "https://[fd00::7]:8443",
    ];
    let no_hosts = [
        "",
        "kms.example.com",
        "kms.example.com:8443",
        "ftp://kms.example.com",
        "https://",
        "https://:8443",
        "https://kms.example.com/api",
        "https://kms.example.com//",
        "https://kms.example.com?x=1",
        "https://kms.example.com/?",
        "https://kms.example.com/#top",
        "https://me@kms.example.com",
        "https://me:secret@kms.example.com",
        " https://kms.example.com",
        "https://kms example.com",
    ];
    rows.extend(
        LEADING_ELSEWHERE.map(|slug| bad(json!({"spec.organizationSlug": slug}), "spec.organizationSlug", SLUG)),
    );
    rows.extend(hosts.iter().map(|host| good(json!({"spec.host": host}))));
    rows.extend(no_hosts.iter().map(|host| bad(json!({"spec.host": host}), "spec.host", HOST)));
    rows.push(bad(json!({"spec.host": format!("https://{}.example.com", "a".repeat(250))}), "spec.host", HOST));
    rows
}

/// More trusted CAs.
fn trust() -> Vec<Row> {
    let tls = |changes: Value| {
        let base = json!({"caRef": {"kind": "ConfigMap", "name": "kms-ca"}});
        json!({"spec.tls": with(&base, &changes)})
    };
    let mut rows = vec![
        good(tls(json!({}))),
        good(tls(json!({"caRef.kind": "Secret", "caRef.key": "tls.crt"}))),
        good(tls(json!({"caRef.key": null}))),
        good(json!({"spec.tls": null})),
        bad(json!({"spec.tls": {}}), "spec.tls.caRef", "Required value"),
        bad(tls(json!({"caRef": null})), "spec.tls.caRef", "Required value"),
        bad(tls(json!({"caRef.kind": ABSENT})), "spec.tls.caRef.kind", "Required value"),
        bad(tls(json!({"caRef.name": ABSENT})), "spec.tls.caRef.name", "Required value"),
        bad(tls(json!({"caRef.kind": "a".repeat(65)})), "spec.tls.caRef.kind", "Too long: may not be more than 64"),
        bad(tls(json!({"caRef.name": "a".repeat(254)})), "spec.tls.caRef.name", "Too long: may not be more than 253"),
        bad(tls(json!({"caRef.key": "a".repeat(254)})), "spec.tls.caRef.key", "Too long: may not be more than 253"),
        bad(tls(json!({"caRef.namespace": "other"})), "", "unknown field \"spec.tls.caRef.namespace\""),
        bad(tls(json!({"insecureSkipVerify": true})), "", "unknown field \"spec.tls.insecureSkipVerify\""),
        bad(tls(json!({"caRef": "kms-ca"})), "spec.tls.caRef", "must be of type object"),
    ];
    let (kind, name, key) = ("spec.tls.caRef.kind", "spec.tls.caRef.name", "spec.tls.caRef.key");
    rows.extend(["", "configmap", "Bundle"].map(|word| bad(tls(json!({"caRef.kind": word})), kind, CA_KIND)));
    rows.extend(["", "Kms", "a b", "a/b", "-a", ".."].map(|word| bad(tls(json!({"caRef.name": word})), name, CA_NAME)));
    rows.extend(["", "a b", "a/b"].map(|word| bad(tls(json!({"caRef.key": word})), key, CA_KEY)));
    rows.extend(LEADING_ELSEWHERE.map(|word| bad(tls(json!({"caRef.name": word})), name, CA_NAME)));
    rows
}

/// A method and a name of each of its keys, with and without an identity.
fn methods() -> Vec<Row> {
    let auth = |method: &str, spec: Value| json!({"spec.auth": {method: spec}});
    let mut rows = Vec::new();
    let tables: [(&str, [&str; 5], &[&str], bool); 3] = [
        (
            "token",
            [
                "spec.auth.token.secretRef",
                "spec.auth.token.secretRef.name",
                "spec.auth.token.secretRef.key",
                "",
                "unknown field \"spec.auth.token.secretRef.namespace\"",
            ],
            &["key"],
            false,
        ),
        (
            "jwt",
            [
                "spec.auth.jwt.secretRef",
                "spec.auth.jwt.secretRef.name",
                "spec.auth.jwt.secretRef.key",
                "spec.auth.jwt.identityId",
                "unknown field \"spec.auth.jwt.secretRef.namespace\"",
            ],
            &["key"],
            true,
        ),
        (
            "ldap",
            [
                "spec.auth.ldap.secretRef",
                "spec.auth.ldap.secretRef.name",
                "spec.auth.ldap.secretRef.usernameKey",
                "spec.auth.ldap.identityId",
                "unknown field \"spec.auth.ldap.secretRef.namespace\"",
            ],
            &["usernameKey", "passwordKey"],
            true,
        ),
    ];
    for (method, [reference, name, key, identity, namespace], keys, identified) in tables {
        let with_spec = |changes: Value| {
            let mut base = json!({"secretRef": {"name": "kms-credentials"}});
            if identified {
                base["identityId"] = json!(PROJECT);
            }
            auth(method, with(&base, &changes))
        };
        rows.push(good(with_spec(json!({}))));
        rows.extend(keys.iter().map(|key| good(with_spec(json!({format!("secretRef.{key}"): "of.mine"})))));
        rows.push(bad(with_spec(json!({"secretRef": ABSENT})), reference, "Required value"));
        rows.push(bad(with_spec(json!({"secretRef.name": ABSENT})), name, "Required value"));
        let words = "secretRef.name must be the name of a Secret";
        rows.push(bad(with_spec(json!({"secretRef.name": ""})), name, words));
        rows.extend(LEADING_ELSEWHERE.map(|text| bad(with_spec(json!({"secretRef.name": text})), name, words)));
        rows.push(bad(
            with_spec(json!({"secretRef.name": "a".repeat(254)})),
            name,
            "Too long: may not be more than 253",
        ));
        rows.push(bad(with_spec(json!({format!("secretRef.{}", keys[0]): "a b"})), key, KEY));
        rows.push(bad(with_spec(json!({"secretRef.namespace": "other"})), "", namespace));
        if identified {
            rows.push(bad(with_spec(json!({"identityId": ABSENT})), identity, "Required value"));
            rows.extend(["", "a b", "a/b"].map(|id| bad(with_spec(json!({"identityId": id})), identity, IDENTITY)));
            rows.extend(LEADING_ELSEWHERE.map(|id| bad(with_spec(json!({"identityId": id})), identity, IDENTITY)));
            rows.push(bad(with_spec(json!({"identityId": "a".repeat(65)})), identity, IDENTITY));
            let words = "Too long: may not be more than 253";
            rows.push(bad(with_spec(json!({"identityId": "a".repeat(254)})), identity, words));
        }
    }
    rows
}

/// The methods that mint a token of a ServiceAccount.
fn minting_methods() -> Vec<Row> {
    let mut rows = Vec::new();
    let tables = [
        (
            "kubernetes",
            [
                "spec.auth.kubernetes.identityId",
                "spec.auth.kubernetes.serviceAccountRef",
                "spec.auth.kubernetes.serviceAccountRef.name",
                "spec.auth.kubernetes.audience",
                "unknown field \"spec.auth.kubernetes.serviceAccountRef.namespace\"",
            ],
        ),
        (
            "oidc",
            [
                "spec.auth.oidc.identityId",
                "spec.auth.oidc.serviceAccountRef",
                "spec.auth.oidc.serviceAccountRef.name",
                "spec.auth.oidc.audience",
                "unknown field \"spec.auth.oidc.serviceAccountRef.namespace\"",
            ],
        ),
    ];
    for (method, [identity, reference, name, audience, namespace]) in tables {
        let auth = |changes: Value| {
            let base = json!({"identityId": PROJECT, "serviceAccountRef": {"name": "login"}, "audience": "kms"});
            json!({"spec.auth": {method: with(&base, &changes)}})
        };
        rows.push(good(auth(json!({}))));
        rows.push(good(auth(
            json!({"serviceAccountRef.name": "kms.login-2", "audience": "https://kms.example.com/x"}),
        )));
        rows.push(good(auth(json!({"audience": "a".repeat(512)}))));
        rows.push(bad(auth(json!({"identityId": ABSENT})), identity, "Required value"));
        rows.push(bad(auth(json!({"identityId": ""})), identity, IDENTITY));
        rows.push(bad(auth(json!({"serviceAccountRef": ABSENT})), reference, "Required value"));
        rows.push(bad(auth(json!({"serviceAccountRef.name": ABSENT})), name, "Required value"));
        rows.extend(
            ["", "Login", "a b", "a/b", "-a", "a;b"]
                .map(|account| bad(auth(json!({"serviceAccountRef.name": account})), name, ACCOUNT)),
        );
        rows.extend(
            LEADING_ELSEWHERE.map(|account| bad(auth(json!({"serviceAccountRef.name": account})), name, ACCOUNT)),
        );
        let long = "Too long: may not be more than 253";
        rows.push(bad(auth(json!({"serviceAccountRef.name": "a".repeat(254)})), name, long));
        rows.push(bad(auth(json!({"serviceAccountRef.namespace": "other"})), "", namespace));
        rows.push(bad(auth(json!({"audience": ABSENT})), audience, "Required value"));
        rows.extend(["", "a b", "a\n"].map(|text| bad(auth(json!({"audience": text})), audience, AUDIENCE)));
        rows.push(bad(auth(json!({"audience": "a".repeat(513)})), audience, AUDIENCE));
        rows.push(bad(auth(json!({"audience": "a".repeat(1025)})), audience, "Too long: may not be more than 1024"));
    }
    rows
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_of_a_namespace() {
    let world = World::builder().without_operator().start().await;
    let place = Place::new(world.client(), Some(world.namespace()), "kmsinstances");
    place.created(&namespaced(), common()).await;
    place.created(&namespaced(), trust()).await;
    place.created(&namespaced(), methods()).await;
    place.created(&namespaced(), minting_methods()).await;
    // What is for the cluster kind alone.
    let rows = vec![
        bad(json!({"spec.namespace": "kms-system"}), "", "unknown field \"spec.namespace\""),
        bad(json!({"spec.grants": []}), "", "unknown field \"spec.grants\""),
    ];
    place.created(&namespaced(), rows).await;
    let created = place.create(&namespaced()).await;
    assert_eq!(created["status"], json!({"observedGeneration": -1}));
    assert_eq!(created["spec"], namespaced()["spec"]);
    let rows = vec![
        good(json!({"spec.host": "https://kms.example.com"})),
        good(json!({"spec.auth.universal.secretRef.name": "other"})),
        good(json!({"spec.organizationSlug": "acme"})),
        good(json!({"spec.tls": {"caRef": {"kind": "ConfigMap", "name": "kms-ca"}}})),
        bad(json!({"spec.auth": {}}), "spec.auth", METHOD),
    ];
    place.updated(&created, rows).await;
    let status = json!({"status": {"observedGeneration": 1, "connections": 3, "secretVersion": "uid/7", "caVersion": "uid/8", "conditions": []}});
    place.status_updated(&created, vec![good(status)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_of_the_cluster() {
    let world = World::builder().without_operator().start().await;
    let place = Place::new(world.client(), None, "clusterkmsinstances");
    place.created(&cluster(), common()).await;
    place.created(&cluster(), trust()).await;
    place.created(&cluster(), methods()).await;
    place.created(&cluster(), minting_methods()).await;
    let mut rows = vec![
        bad(json!({"spec.namespace": ABSENT}), "spec.namespace", "Required value"),
        bad(json!({"spec.namespace": null}), "spec.namespace", "Required value"),
        bad(json!({"spec.namespace": ""}), "spec.namespace", NAMESPACE),
        bad(json!({"spec.namespace": "Kms"}), "spec.namespace", NAMESPACE),
        bad(json!({"spec.namespace": "kms-"}), "spec.namespace", NAMESPACE),
        bad(json!({"spec.namespace": "a".repeat(64)}), "spec.namespace", NAMESPACE),
        good(json!({"spec.namespace": "a".repeat(63)})),
        bad(json!({"spec.namespace": "a".repeat(254)}), "spec.namespace", "Too long: may not be more than 253"),
    ];
    rows.extend(LEADING_ELSEWHERE.map(|name| bad(json!({"spec.namespace": name}), "spec.namespace", NAMESPACE)));
    place.created(&cluster(), rows).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn grants() {
    let world = World::builder().without_operator().start().await;
    let place = Place::new(world.client(), None, "clusterkmsinstances");
    let grant = |changes: Value| {
        let base = json!({"namespaceSelector": {}, "projectIds": ["*"]});
        json!({"spec.grants": [with(&base, &changes)]})
    };
    let projects = |count: usize| -> Vec<String> { (0..count).map(|i| format!("{i:08}{}", &PROJECT[8..])).collect() };
    let label = |name: &str| json!({"namespaceSelector.matchLabels": {name: "x"}});
    let requirement = |value: Value| grant(json!({"namespaceSelector.matchExpressions": [value]}));
    let selector = "spec.grants[0].namespaceSelector";
    let requirements = "spec.grants[0].namespaceSelector.matchExpressions[0]";
    let rows = vec![
        good(json!({"spec.grants": []})),
        good(json!({"spec.grants": null})),
        good(grant(json!({}))),
        good(grant(json!({"projectIds": [PROJECT, "*"]}))),
        good(grant(json!({"projectIds": ABSENT, "organizationScope": true}))),
        good(grant(json!({"organizationScope": true}))),
        good(grant(json!({"adoption": true}))),
        good(grant(json!({"adoption": false}))),
        good(grant(json!({"adoption": null}))),
        bad(grant(json!({"adoption": "true"})), "spec.grants[0].adoption", "must be of type boolean"),
        bad(grant(json!({"projectIds": ABSENT, "adoption": true})), "spec.grants[0]", GRANT),
        good(grant(json!({"projectIds": projects(256)}))),
        good(grant(label("kubernetes.io/metadata.name"))),
        good(json!({"spec.grants": vec![json!({"namespaceSelector": {}, "projectIds": ["*"]}); 64]})),
        bad(grant(json!({"namespaceSelector": ABSENT})), selector, "Required value"),
        bad(grant(json!({"namespaceSelector": null})), selector, "Required value"),
        bad(grant(json!({"namespaceSelector": "team-a"})), selector, "must be of type object"),
        bad(grant(json!({"projectIds": ABSENT})), "spec.grants[0]", GRANT),
        bad(grant(json!({"projectIds": []})), "spec.grants[0]", GRANT),
        bad(grant(json!({"projectIds": null, "organizationScope": false})), "spec.grants[0]", GRANT),
        bad(grant(json!({"projectIds": ["payments"]})), "spec.grants[0].projectIds", PROJECT_IDS),
        bad(grant(json!({"projectIds": [""]})), "spec.grants[0].projectIds", PROJECT_IDS),
        bad(grant(json!({"projectIds": ["7ffbb072*"]})), "spec.grants[0].projectIds", PROJECT_IDS),
        bad(grant(json!({"projectIds": ["*", "*"]})), "spec.grants[0].projectIds[1]", "Duplicate value"),
        bad(grant(json!({"projectIds": projects(257)})), "spec.grants[0].projectIds", "must have at most 256 items"),
        bad(
            grant(json!({"projectIds": ["x".repeat(65)]})),
            "spec.grants[0].projectIds[0]",
            "Too long: may not be more than 64",
        ),
        bad(
            json!({"spec.grants": vec![json!({"namespaceSelector": {}, "projectIds": ["*"]}); 65]}),
            "spec.grants",
            "must have at most 64 items",
        ),
        bad(grant(json!({"adopt": true})), "", "unknown field \"spec.grants[0].adopt\""),
        // Requirements on labels.
        good(requirement(json!({"key": "team", "operator": "In", "values": ["a", "b"]}))),
        good(requirement(json!({"key": "team", "operator": "NotIn", "values": ["a"]}))),
        good(requirement(json!({"key": "team", "operator": "Exists"}))),
        good(requirement(json!({"key": "team", "operator": "DoesNotExist", "values": []}))),
        good(requirement(json!({"key": "example.com/team", "operator": "In", "values": ["", "a.B_c-1"]}))),
        bad(requirement(json!({"key": "team", "operator": "In"})), requirements, REQUIREMENT),
        bad(requirement(json!({"key": "team", "operator": "In", "values": []})), requirements, REQUIREMENT),
        bad(requirement(json!({"key": "team", "operator": "Exists", "values": ["a"]})), requirements, REQUIREMENT),
        bad(requirement(json!({"key": "team", "operator": "in", "values": ["a"]})), requirements, REQUIREMENT),
        bad(requirement(json!({"key": "team", "operator": "Gt", "values": ["1"]})), requirements, REQUIREMENT),
        bad(
            requirement(json!({"operator": "Exists"})),
            "spec.grants[0].namespaceSelector.matchExpressions[0].key",
            "Required value",
        ),
        bad(
            requirement(json!({"key": "team"})),
            "spec.grants[0].namespaceSelector.matchExpressions[0].operator",
            "Required value",
        ),
    ];
    place.created(&cluster(), rows).await;

    // What no label can be would, under NotIn and DoesNotExist, select every namespace.
    let odd = ["team ", " ", "a/b/c", "tëam", "-team", "/team", "team\n"];
    let mut rows: Vec<_> = odd
        .map(|key| {
            bad(
                requirement(json!({"key": key, "operator": "DoesNotExist"})),
                "spec.grants[0].namespaceSelector.matchExpressions[0].key",
                LABEL,
            )
        })
        .into();
    let values = ["a ", "tëam", "a/b", "a\n"];
    rows.extend(values.map(|text| {
        bad(
            requirement(json!({"key": "team", "operator": "NotIn", "values": [text]})),
            "spec.grants[0].namespaceSelector.matchExpressions[0].values[0]",
            LABEL_VALUE,
        )
    }));
    place.created(&cluster(), rows).await;
}
