//! Each field and each rule of a BitbucketConnection when it is created.

use serde_json::{Value, json};

use super::table::{ABSENT, LEADING_ELSEWHERE, Place, bad, good, with};
use crate::harness::{PROJECT, World};

const NAME: &str = "metadata.name is no valid connection name (lower case letters, digits and single hyphens, at most 64); \
                    set spec.connectionName";
const ONE_SCOPE: &str = "set exactly one of projectId and organizationScope: true";
const PROJECT_ID: &str = "projectId must be the id of a KMS project, a UUID such as \
                          7ffbb072-2575-495a-b5b0-127f88caef78 (project settings, Copy project ID)";
const CONNECTION_NAME: &str = "connectionName must be lower case letters and digits in groups joined by single hyphens, \
                               1 to 64 characters, such as team-a-bitbucket";
const INTERVAL: &str = "interval must be between 1m and 24h, in hours, minutes and seconds, largest first, such as 30m";
const MANAGEMENT: &str = "managementPolicy must be Full, Observe or Suspended";
const NOT_AFTER: &str = "notAfter must be a date such as 2027-03-01 or an RFC 3339 time such as 2027-03-01T12:00:00Z";
const WARN_BEFORE: &str = "warnBefore holds durations in days, hours, minutes and seconds, largest first, such as 14d, \
                           36h or 1d12h; leave it out for 30d, 14d, 7d, 3d, 1d";
const KEY: &str =
    "must be the name of a key in the Secret: letters, digits, '-', '_' or '.'; leave it out for the default";
const USE_CASES: &str =
    "useCases may hold SecretScanning, SecretSync and CodeReview; name any other scope under additional";
const ADDITIONAL: &str = "additional holds scopes by their full names, such as read:issue:bitbucket";
const WORKSPACES: &str =
    "workspaces holds slugs of workspaces as in bitbucket.org/<slug>, in lower case, such as hanzo-payments";
const SOME_SCOPE: &str = "scopes needs at least one of useCases (SecretScanning, SecretSync, CodeReview) or additional";

/// The smallest manifest that the documentation shows.
pub fn smallest() -> Value {
    json!({
        "apiVersion": "connections.kms.hanzo.ai/v1alpha1",
        "kind": "BitbucketConnection",
        "metadata": {"name": "payments"},
        "spec": {
            "projectId": PROJECT,
            "secretRef": {"name": "bitbucket-token"},
            "scopes": {"useCases": ["SecretScanning"]},
        },
    })
}

async fn place() -> (World, Place) {
    let world = World::builder().without_operator().start().await;
    let place = Place::new(world.client(), Some(world.namespace()), "bitbucketconnections");
    (world, place)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unprocessed_object_says_so() {
    let (_world, place) = place().await;
    let created = place.create(&smallest()).await;
    assert_eq!(created["status"], json!({"observedGeneration": -1}));
    // Nothing was written into the spec that its author didn't write.
    assert_eq!(created["spec"], smallest()["spec"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_and_scope() {
    let (_world, place) = place().await;
    let rows = vec![
        good(json!({})),
        bad(json!({"metadata.name": "team.payments"}), "<nil>", NAME),
        bad(json!({"metadata.name": "a--b"}), "<nil>", NAME),
        bad(json!({"metadata.name": "a".repeat(65)}), "<nil>", NAME),
        good(json!({"metadata.name": "a".repeat(64)})),
        good(json!({"metadata.name": "team.payments", "spec.connectionName": "team-payments"})),
        good(json!({"spec.connectionName": "a".repeat(64)})),
        good(json!({"spec.connectionName": "7"})),
        bad(json!({"spec.connectionName": "a".repeat(65)}), "spec.connectionName", CONNECTION_NAME),
        bad(json!({"spec.connectionName": ""}), "spec.connectionName", CONNECTION_NAME),
        bad(json!({"spec.connectionName": "Payments"}), "spec.connectionName", CONNECTION_NAME),
        bad(json!({"spec.connectionName": "my_payments"}), "spec.connectionName", CONNECTION_NAME),
        bad(json!({"spec.connectionName": "-payments"}), "spec.connectionName", CONNECTION_NAME),
        bad(json!({"spec.connectionName": "payments-"}), "spec.connectionName", CONNECTION_NAME),
        bad(json!({"spec.connectionName": "a--b"}), "spec.connectionName", CONNECTION_NAME),
        bad(json!({"spec.connectionName": "payments\n"}), "spec.connectionName", CONNECTION_NAME),
        bad(
            json!({"spec.connectionName": "a".repeat(254)}),
            "spec.connectionName",
            "Too long: may not be more than 253",
        ),
        bad(json!({"spec.connectionName": 7}), "spec.connectionName", "must be of type string"),
        good(json!({"spec.connectionName": null})),
        // Exactly one scope.
        bad(json!({"spec.projectId": ABSENT}), "spec", ONE_SCOPE),
        bad(json!({"spec.projectId": null}), "spec", ONE_SCOPE),
        bad(json!({"spec.organizationScope": true}), "spec", ONE_SCOPE),
        bad(json!({"spec.projectId": ABSENT, "spec.organizationScope": false}), "spec", ONE_SCOPE),
        bad(json!({"spec.projectId": null, "spec.organizationScope": null}), "spec", ONE_SCOPE),
        good(json!({"spec.organizationScope": false})),
        good(json!({"spec.organizationScope": null})),
        good(json!({"spec.projectId": ABSENT, "spec.organizationScope": true})),
        bad(json!({"spec.organizationScope": "true"}), "spec.organizationScope", "must be of type boolean"),
        good(json!({"spec.projectId": PROJECT.to_uppercase()})),
        bad(json!({"spec.projectId": ""}), "spec.projectId", PROJECT_ID),
        bad(json!({"spec.projectId": "payments"}), "spec.projectId", PROJECT_ID),
        bad(json!({"spec.projectId": format!("{PROJECT}0")}), "spec.projectId", PROJECT_ID),
        bad(json!({"spec.projectId": format!(" {PROJECT}")}), "spec.projectId", PROJECT_ID),
        bad(json!({"spec.projectId": PROJECT.replace('-', "")}), "spec.projectId", PROJECT_ID),
        bad(
            json!({"spec.projectId": format!("https://app.kms.hanzo.ai/projects/{PROJECT}")}),
            "spec.projectId",
            PROJECT_ID,
        ),
        bad(json!({"spec.projectId": "x".repeat(254)}), "spec.projectId", "Too long: may not be more than 253"),
        // The KMS.
        good(json!({"spec.kmsRef": {"name": "kms"}})),
        good(json!({"spec.kmsRef": {"kind": "KmsInstance", "name": "kms"}})),
        good(json!({"spec.kmsRef": {"kind": "ClusterKmsInstance", "name": "default"}})),
        good(json!({"spec.kmsRef": null})),
        good(json!({"spec.kmsRef": {"kind": null, "name": "kms"}})),
        bad(json!({"spec.kmsRef": {}}), "spec.kmsRef.name", "Required value"),
        bad(json!({"spec.kmsRef": {"kind": "KmsInstance"}}), "spec.kmsRef.name", "Required value"),
        bad(
            json!({"spec.kmsRef": {"name": ""}}),
            "spec.kmsRef.name",
            "kmsRef.name must be the name of an instance (lower case letters, digits, '-' and '.'); leave kmsRef out for the ClusterKmsInstance default",
        ),
        bad(
            json!({"spec.kmsRef": {"kind": "kmsinstance", "name": "kms"}}),
            "spec.kmsRef.kind",
            "kmsRef.kind must be KmsInstance or ClusterKmsInstance",
        ),
        bad(
            json!({"spec.kmsRef": {"name": "a".repeat(254)}}),
            "spec.kmsRef.name",
            "Too long: may not be more than 253",
        ),
        bad(json!({"spec.kmsRef": "kms"}), "spec.kmsRef", "must be of type object"),
    ];
    place.created(&smallest(), rows).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_becomes_part_of_an_address_leads_nowhere_else() {
    let (_world, place) = place().await;
    let fields = [
        ("spec.secretRef.name", "secretRef.name must be the name of a Secret in this namespace"),
        ("spec.kmsRef.name", "kmsRef.name must be the name of an instance"),
        ("spec.connectionName", CONNECTION_NAME),
        ("spec.projectId", PROJECT_ID),
    ];
    let named = |(field, words): (&'static str, &'static str)| {
        LEADING_ELSEWHERE.map(|text| bad(json!({field: text}), field, words))
    };
    let mut rows: Vec<_> = fields.into_iter().flat_map(named).collect();
    rows.extend(LEADING_ELSEWHERE.map(|text| bad(json!({"spec.workspaces": [text]}), "spec.workspaces", WORKSPACES)));
    let base = with(&smallest(), &json!({"spec.kmsRef": {"name": "kms"}}));
    place.created(&base, rows).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_and_scopes() {
    let (_world, place) = place().await;
    let keys = json!({"name": "s", "emailKey": "user.name", "tokenKey": "API_TOKEN", "expiresAtKey": "not-after"});
    let seventy: Vec<String> = (0..65).map(|i| format!("read:{}:bitbucket", "x".repeat(i + 1))).collect();
    let rows = vec![
        good(json!({"spec.secretRef": keys})),
        good(json!({"spec.secretRef.emailKey": null})),
        bad(
            json!({"spec.secretRef": ABSENT}),
            "spec.secretRef",
            "name the Secret in this namespace that holds e-mail and API token, such as secretRef: {name: bitbucket-token}",
        ),
        bad(json!({"spec.secretRef": null}), "spec.secretRef", "such as secretRef: {name: bitbucket-token}"),
        bad(json!({"spec.secretRef": {}}), "spec.secretRef.name", "Required value"),
        bad(json!({"spec.secretRef.name": null}), "spec.secretRef.name", "Required value"),
        bad(
            json!({"spec.secretRef.name": ""}),
            "spec.secretRef.name",
            "secretRef.name must be the name of a Secret in this namespace",
        ),
        bad(
            json!({"spec.secretRef.name": "a".repeat(254)}),
            "spec.secretRef.name",
            "Too long: may not be more than 253",
        ),
        good(json!({"spec.secretRef.name": "bitbucket.token-2"})),
        bad(json!({"spec.secretRef.namespace": "other"}), "", "unknown field \"spec.secretRef.namespace\""),
        bad(json!({"spec.secretRef.emailKey": "e mail"}), "spec.secretRef.emailKey", KEY),
        bad(json!({"spec.secretRef.emailKey": ""}), "spec.secretRef.emailKey", KEY),
        bad(json!({"spec.secretRef.tokenKey": "tökén"}), "spec.secretRef.tokenKey", KEY),
        bad(json!({"spec.secretRef.expiresAtKey": "a/b"}), "spec.secretRef.expiresAtKey", KEY),
        bad(
            json!({"spec.secretRef.tokenKey": "a".repeat(254)}),
            "spec.secretRef.tokenKey",
            "Too long: may not be more than 253",
        ),
        // Scopes.
        good(json!({"spec.scopes": {"useCases": ["SecretScanning", "SecretSync", "CodeReview"]}})),
        good(json!({"spec.scopes": {"additional": ["read:issue:bitbucket"]}})),
        good(json!({"spec.scopes.additional": ["admin:pipeline:bitbucket", "read:issue:bitbucket"]})),
        good(json!({"spec.scopes.additional": []})),
        good(json!({"spec.scopes.onMissing": "Block", "spec.scopes.onExcess": "Warn"})),
        good(json!({"spec.scopes.onMissing": "Warn", "spec.scopes.onExcess": "Block"})),
        good(json!({"spec.scopes.onMissing": null})),
        good(json!({"spec.scopes.additional": seventy[..64]})),
        bad(
            json!({"spec.scopes": ABSENT}),
            "spec.scopes",
            "say what the token is for, such as scopes: {useCases: [SecretScanning]} (also SecretSync, CodeReview)",
        ),
        bad(json!({"spec.scopes": null}), "spec.scopes", "such as scopes: {useCases: [SecretScanning]}"),
        bad(json!({"spec.scopes": {}}), "spec.scopes", SOME_SCOPE),
        bad(json!({"spec.scopes": {"useCases": [], "additional": []}}), "spec.scopes", SOME_SCOPE),
        bad(json!({"spec.scopes": {"useCases": null}}), "spec.scopes", SOME_SCOPE),
        bad(json!({"spec.scopes.useCases": ["secretscanning"]}), "spec.scopes.useCases", USE_CASES),
        bad(
            json!({"spec.scopes.useCases": ["SecretScanning", "read:issue:bitbucket"]}),
            "spec.scopes.useCases",
            USE_CASES,
        ),
        bad(json!({"spec.scopes.useCases": [""]}), "spec.scopes.useCases", USE_CASES),
        bad(
            json!({"spec.scopes.useCases": ["SecretSync", "SecretSync"]}),
            "spec.scopes.useCases[1]",
            "Duplicate value",
        ),
        bad(json!({"spec.scopes.useCases": ["a", "b", "c", "d"]}), "spec.scopes.useCases", "must have at most 3 items"),
        bad(
            json!({"spec.scopes.useCases": ["x".repeat(65)]}),
            "spec.scopes.useCases[0]",
            "Too long: may not be more than 64",
        ),
        bad(json!({"spec.scopes.useCases": "SecretScanning"}), "spec.scopes.useCases", "must be of type array"),
        bad(json!({"spec.scopes.additional": ["read:issue"]}), "spec.scopes.additional", ADDITIONAL),
        bad(json!({"spec.scopes.additional": ["repository:write"]}), "spec.scopes.additional", ADDITIONAL),
        bad(json!({"spec.scopes.additional": ["read:issue:jira"]}), "spec.scopes.additional", ADDITIONAL),
        bad(json!({"spec.scopes.additional": [" read:issue:bitbucket"]}), "spec.scopes.additional", ADDITIONAL),
        bad(
            json!({"spec.scopes.additional": ["read:issue:bitbucket", "read:issue:bitbucket"]}),
            "spec.scopes.additional[1]",
            "Duplicate value",
        ),
        bad(json!({"spec.scopes.additional": seventy}), "spec.scopes.additional", "must have at most 64 items"),
        bad(
            json!({"spec.scopes.additional": ["x".repeat(101)]}),
            "spec.scopes.additional[0]",
            "Too long: may not be more than 100",
        ),
        bad(json!({"spec.scopes.onMissing": "block"}), "spec.scopes.onMissing", "onMissing must be Block or Warn"),
        bad(json!({"spec.scopes.onMissing": "Ignore"}), "spec.scopes.onMissing", "onMissing must be Block or Warn"),
        bad(json!({"spec.scopes.onExcess": ""}), "spec.scopes.onExcess", "onExcess must be Block or Warn"),
        bad(
            json!({"spec.scopes.onExcess": "x".repeat(65)}),
            "spec.scopes.onExcess",
            "Too long: may not be more than 64",
        ),
        bad(json!({"spec.scope": {}}), "", "unknown field \"spec.scope\""),
        // Workspaces.
        good(json!({"spec.workspaces": ["hanzo-payments", "a_b", "7", "x".repeat(64)]})),
        good(json!({"spec.workspaces": []})),
        good(json!({"spec.workspaces": null})),
        good(json!({"spec.workspaces": (0..64).map(|i| format!("w{i}")).collect::<Vec<_>>()})),
        bad(
            json!({"spec.workspaces": (0..65).map(|i| format!("w{i}")).collect::<Vec<_>>()}),
            "spec.workspaces",
            "must have at most 64 items",
        ),
        bad(json!({"spec.workspaces": "hanzo"}), "spec.workspaces", "must be of type array"),
        bad(json!({"spec.workspaces": ["hanzo", "hanzo"]}), "spec.workspaces[1]", "Duplicate value"),
        bad(json!({"spec.workspaces": [""]}), "spec.workspaces", WORKSPACES),
        bad(json!({"spec.workspaces": ["Hanzo"]}), "spec.workspaces", WORKSPACES),
        bad(json!({"spec.workspaces": ["bitbucket.org/hanzo"]}), "spec.workspaces", WORKSPACES),
        bad(json!({"spec.workspaces": ["x".repeat(65)]}), "spec.workspaces", WORKSPACES),
        bad(json!({"spec.workspaces": ["x".repeat(254)]}), "spec.workspaces[0]", "Too long: may not be more than 253"),
    ];
    place.created(&smallest(), rows).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_times_and_policies() {
    let (_world, place) = place().await;
    let mut rows = vec![
        good(json!({"spec.description": "x".repeat(200), "spec.contact": "ü".repeat(200)})),
        good(json!({"spec.description": "", "spec.contact": ""})),
        good(json!({"spec.description": null, "spec.contact": null})),
        bad(json!({"spec.description": "x".repeat(201)}), "spec.description", "Too long: may not be more than 200"),
        bad(json!({"spec.contact": "x".repeat(201)}), "spec.contact", "Too long: may not be more than 200"),
        good(json!({"spec.adoptionPolicy": "Never"})),
        good(json!({"spec.adoptionPolicy": "Adopt"})),
        good(json!({"spec.adoptionPolicy": null})),
        bad(json!({"spec.adoptionPolicy": "Always"}), "spec.adoptionPolicy", "adoptionPolicy must be Never or Adopt"),
        bad(json!({"spec.adoptionPolicy": ""}), "spec.adoptionPolicy", "adoptionPolicy must be Never or Adopt"),
        bad(json!({"spec.adoptionPolicy": "x".repeat(65)}), "spec.adoptionPolicy", "Too long: may not be more than 64"),
        good(json!({"spec.deletionPolicy": "Delete"})),
        good(json!({"spec.deletionPolicy": "Retain"})),
        good(json!({"spec.deletionPolicy": null})),
        bad(json!({"spec.deletionPolicy": "Orphan"}), "spec.deletionPolicy", "deletionPolicy must be Delete or Retain"),
        bad(json!({"spec.deletionPolicy": "retain"}), "spec.deletionPolicy", "deletionPolicy must be Delete or Retain"),
        bad(json!({"spec.deletionPolicy": "x".repeat(65)}), "spec.deletionPolicy", "Too long: may not be more than 64"),
        good(json!({"spec.managementPolicy": "Full"})),
        good(json!({"spec.managementPolicy": "Observe"})),
        good(json!({"spec.managementPolicy": "Suspended"})),
        good(json!({"spec.managementPolicy": null})),
        bad(json!({"spec.managementPolicy": "Suspend"}), "spec.managementPolicy", MANAGEMENT),
        bad(json!({"spec.managementPolicy": "observe"}), "spec.managementPolicy", MANAGEMENT),
        bad(json!({"spec.managementPolicy": ""}), "spec.managementPolicy", MANAGEMENT),
        bad(json!({"spec.managementPolicy": true}), "spec.managementPolicy", "must be of type string"),
        bad(
            json!({"spec.managementPolicy": "x".repeat(65)}),
            "spec.managementPolicy",
            "Too long: may not be more than 64",
        ),
        good(json!({"spec.interval": null})),
        bad(json!({"spec.interval": 60}), "spec.interval", "must be of type string"),
        bad(json!({"spec.interval": "1".repeat(65)}), "spec.interval", "Too long: may not be more than 64"),
        good(json!({"spec.expiry": {}})),
        good(json!({"spec.expiry": null})),
        good(json!({"spec.expiry.notAfter": null, "spec.expiry.warnBefore": null})),
        bad(
            json!({"spec.expiry.notAfter": "x".repeat(65)}),
            "spec.expiry.notAfter",
            "Too long: may not be more than 64",
        ),
        good(json!({"spec.expiry.warnBefore": ["30d", "36h", "90m", "45s", "1d12h30m15s", "9999d"]})),
        good(json!({"spec.expiry.warnBefore": vec!["1d"; 16]})),
        bad(json!({"spec.expiry.warnBefore": vec!["1d"; 17]}), "spec.expiry.warnBefore", "must have at most 16 items"),
        bad(
            json!({"spec.expiry.warnBefore": ["1".repeat(65)]}),
            "spec.expiry.warnBefore[0]",
            "Too long: may not be more than 64",
        ),
        bad(json!({"spec.expiry.warnBefore": []}), "spec.expiry.warnBefore", WARN_BEFORE),
        bad(json!({"spec.expiry.warnBefore": "30d"}), "spec.expiry.warnBefore", "must be of type array"),
    ];
    let good_intervals = ["1m", "60s", "90m", "1h30m", "24h", "1440m", "86400s", "23h59m60s"];
    let bad_intervals = [
        "", "h", "5", "59s", "24h1s", "25h", "1d", "30m1h", "1 h", "1.5h", "-1h", "1H", "10:30", "000001h", "99999h",
        "9999999s",
    ];
    rows.extend(good_intervals.iter().map(|text| good(json!({"spec.interval": text}))));
    rows.extend(bad_intervals.iter().map(|text| bad(json!({"spec.interval": text}), "spec.interval", INTERVAL)));
    let good_times =
        ["2027-03-01", "2027-03-01T12:00:00Z", "2027-03-01t12:00:00z", "2027-03-01T12:00:00.123456789+02:00"];
    let bad_times = [
        "",
        "tomorrow",
        "2027-3-1",
        "01.03.2027",
        "2027-03-01 12:00:00",
        "2027-03-01T12:00:00",
        "2027-03-01T12:00Z",
        "1800000000",
    ];
    rows.extend(good_times.iter().map(|text| good(json!({"spec.expiry.notAfter": text}))));
    rows.extend(
        bad_times.iter().map(|text| bad(json!({"spec.expiry.notAfter": text}), "spec.expiry.notAfter", NOT_AFTER)),
    );
    let bad_durations = ["", "d", "7", "7 d", "12h1d", "1w", "1.5d", "-1d", "10000d", "P7D"];
    rows.extend(
        bad_durations
            .iter()
            .map(|text| bad(json!({"spec.expiry.warnBefore": [text]}), "spec.expiry.warnBefore", WARN_BEFORE)),
    );
    place.created(&smallest(), rows).await;
}
