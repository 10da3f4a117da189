//! Each way of logging in, and how it is refused.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use sim::Proof;

use crate::common::*;

fn jwt(claims: &Value) -> String {
    format!("e30.{}.sig", URL_SAFE_NO_PAD.encode(claims.to_string()))
}

fn service_account(subject: &str, audience: &str) -> Value {
    json!({"jwt": jwt(&json!({"sub": format!("system:serviceaccount:{subject}"), "aud": [audience]}))})
}

fn signed(request: &str, signature: &str) -> Value {
    let headers = json!({"Authorization": signature, "Host": "sts.eu-west-1.amazonaws.com"});
    json!({
        "iamHttpRequestMethod": "POST",
        "iamRequestBody": STANDARD.encode(request),
        "iamRequestHeaders": STANDARD.encode(headers.to_string()),
    })
}

#[tokio::test]
async fn identities_prove_themselves_in_many_ways() {
    let (_, kms, _) = world().await;
    let of = |audience: &str, subject: &str| Proof::Jwt {
        audience: Some(audience.to_owned()),
        subject: Some(subject.to_owned()),
    };
    let claims = |subject: &str, audience: &str| json!({"jwt": jwt(&json!({"sub": subject, "aud": audience}))});
    let person = Proof::Password { username: "bot".to_owned(), password: "secret".to_owned() };
    let named = |username: &str, password: &str| json!({"username": username, "password": password});
    let identity = "Action=GetCallerIdentity&Version=2011-06-15";
    let denied = |what: &str| format!("Access denied: {what} not allowed.");
    let invalid = "Invalid credentials".to_owned();

    let team = of("kms", "system:serviceaccount:team-a:bot");
    let rows = [
        (
            "kubernetes-auth",
            team.clone(),
            service_account("team-a:bot", "kms"),
            vec![
                (service_account("team-a:bot", "elsewhere"), denied("K8s audience")),
                (service_account("team-b:bot", "kms"), denied("K8s namespace")),
                (service_account("team-a:other", "kms"), denied("K8s name")),
                (json!({"jwt": "no JWT"}), invalid.clone()),
            ],
        ),
        (
            "oidc-auth",
            team,
            service_account("team-a:bot", "kms"),
            vec![
                (service_account("team-a:other", "kms"), denied("subject")),
                (service_account("team-a:bot", "elsewhere"), denied("audience")),
            ],
        ),
        ("jwt-auth", of("kms", "ci"), claims("ci", "kms"), vec![(claims("cd", "kms"), denied("subject"))]),
        (
            "azure-auth",
            of("api://kms", "app"),
            claims("app", "api://kms"),
            vec![(claims("app", "api://other"), denied("audience"))],
        ),
        ("gcp-auth", of("it", "bot"), claims("bot", "it"), vec![(claims("bot", "other"), denied("audience"))]),
        ("ldap-auth", person, named("bot", "secret"), vec![(named("bot", "wrong"), invalid.clone())]),
        (
            "aws-auth",
            Proof::Aws,
            signed(identity, "AWS4-HMAC-SHA256 Credential=…"),
            vec![
                (signed(identity, "Basic …"), invalid.clone()),
                (signed("Action=Other", "AWS4-HMAC-SHA256 Credential=…"), invalid.clone()),
            ],
        ),
    ];
    for (method, proof, good, bad) in rows {
        kms.add_identity_with(method, "it", proof);
        let url = format!("{}/api/v1/auth/{method}/login", kms.url());
        let login = async |identity: &str, evidence: &Value| {
            let mut body = evidence.clone();
            body["identityId"] = json!(identity);
            body["organizationSlug"] = json!("acme");
            send("POST", &url, None, Some(&body)).await.expect("an answer")
        };
        let answer = login("it", &good).await.json();
        assert_eq!((&answer["tokenType"], &answer["expiresIn"]), (&json!("Bearer"), &json!(2_592_000)), "{method}");
        let session = format!("Bearer {}", answer["accessToken"].as_str().expect("a token"));
        assert_eq!(call(&kms, &session, "GET", "", None).await.expect("an answer").status, 200, "{method}");
        for (evidence, words) in bad {
            let refused = login("it", &evidence).await;
            assert_eq!((refused.status, refused.message()), (401, words), "{method}");
        }
        assert_eq!(login("nobody", &good).await.status, 404, "{method}");
        let without = send("POST", &url, None, Some(&json!({"identityId": "it"}))).await.expect("an answer");
        assert_eq!(without.status, 422, "{method}");
    }
}

#[tokio::test]
async fn some_sessions_need_no_login_or_never_end() {
    let (bitbucket, kms, _) = world().await;
    kms.add_access_token("static");
    let list =
        async |token: &str| call(&kms, &format!("Bearer {token}"), "GET", "", None).await.expect("an answer").status;
    let hands = Hands::of(&bitbucket, &kms);
    kms.set_access_token_ttl(60);
    let short = login(&kms, "secret").await.json();
    kms.set_access_token_ttl(0);
    let endless = login(&kms, "secret").await.json();
    assert_eq!((&short["expiresIn"], &endless["expiresIn"]), (&json!(60), &json!(0)));
    let token = |answer: &Value| answer["accessToken"].as_str().expect("a token").to_owned();
    assert_eq!(list(&token(&short)).await, 200);
    hands.forward(60);
    assert_eq!([list(&token(&short)).await, list(&token(&endless)).await, list("static").await], [403, 200, 200]);
    let unknown = format!("{}/api/v1/auth/carrier-pigeon/login", kms.url());
    assert_eq!(send("POST", &unknown, None, Some(&json!({}))).await.expect("an answer").status, 404);
}
