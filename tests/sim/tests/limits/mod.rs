//! How much the services allow, and what they say about it.

use axum::body::Body;
use axum::http::{HeaderMap, Request};
use serde_json::{Value, json};
use sim::{Bitbucket, Caller, Fault, Kms, Limits, Operation, Token};

use crate::common::*;

const BASE: &str = "/api/v1/app-connections/bitbucket";
const LOGIN: &str = "/api/v1/auth/universal-auth/login";

/// Both services without a network, and their clock.
fn services() -> (Bitbucket, Kms, Hands) {
    let bitbucket = Bitbucket::new();
    bitbucket.add(Token::new(EMAIL, TOKEN).scopes(["read:user:bitbucket"]));
    let kms = Kms::new(&bitbucket);
    kms.add_identity("client", "secret");
    kms.add_access_token("static");
    kms.add_project(PROJECT);
    let hands = Hands::of(&bitbucket, &kms);
    (bitbucket, kms, hands)
}

const SESSION: (&str, &str) = ("authorization", "Bearer static");

fn told(headers: &HeaderMap) -> [Option<&str>; 4] {
    ["x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset", "retry-after"]
        .map(|name| headers.get(name).map(|value| value.to_str().expect("text")))
}

#[tokio::test(start_paused = true)]
async fn the_kms_counts_by_the_minute_and_says_so_in_every_answer() {
    let (_, kms, hands) = services();
    let list = async || ask(&kms, "GET", BASE, &[SESSION], None).await;
    assert_eq!(told(&list().await.1), [None; 4], "unlimited at first");

    kms.set_limits(Limits { reads: Some(2), ..Limits::USUAL });
    let (status, headers, _) = list().await;
    assert_eq!((status, told(&headers)), (200, [Some("2"), Some("1"), Some("60"), None]));
    hands.forward(45);
    assert_eq!(told(&list().await.1), [Some("2"), Some("0"), Some("15"), None]);
    let (status, headers, body) = list().await;
    assert_eq!((status, told(&headers)), (429, [Some("2"), Some("0"), Some("15"), Some("15")]));
    let body: Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!(body["message"], "Rate limit exceeded. Please try again in 15 seconds");
    assert_eq!(body["statusCode"], 429);

    // Writes have their own, and a read more doesn't lengthen the minute.
    let (status, headers, _) = ask(&kms, "POST", BASE, &[SESSION], Some(create_body("payments"))).await;
    assert_eq!((status, told(&headers)), (200, [Some("200"), Some("199"), Some("60"), None]));
    hands.forward(14);
    assert_eq!(list().await.0, 429);
    hands.forward(1);
    assert_eq!(told(&list().await.1), [Some("2"), Some("1"), Some("60"), None]);
    let lists = kms.tally().of([Operation::List]);
    assert_eq!((lists.ended(200), lists.ended(429)), (4, 2));
}

#[tokio::test(start_paused = true)]
async fn logins_are_writes_and_all_requests_have_a_limit_of_their_own() {
    let (_, kms, hands) = services();
    let login =
        async || ask(&kms, "POST", LOGIN, &[], Some(json!({"clientId": "client", "clientSecret": "secret"}))).await.0;
    let list = async |from: &str| ask(&kms, "GET", BASE, &[SESSION, ("x-forwarded-for", from)], None).await.0;
    kms.limit_per_minute(None, Some(2));
    let mut body = create_body("payments");
    assert_eq!(login().await, 200);
    assert_eq!(ask(&kms, "POST", BASE, &[SESSION], Some(body.clone())).await.0, 200);
    assert_eq!(login().await, 429);
    body["name"] = json!("other");
    assert_eq!(ask(&kms, "POST", BASE, &[SESSION], Some(body)).await.0, 429);
    assert!(kms.connection("other").is_none(), "a refused request has no effect");

    hands.forward(60);
    kms.set_limits(Limits { reads: Some(2), writes: Some(2), all: Some(3) });
    assert_eq!([list("10.0.0.1").await, list("10.0.0.1").await, list("10.0.0.1").await], [200, 200, 429]);
    assert_eq!(list("10.0.0.2, 10.0.0.1").await, 200, "another client, through a proxy");
    assert_eq!([login().await, login().await, list("127.0.0.1").await, list("127.0.0.1").await], [200, 200, 200, 429]);
    assert_eq!(ask(&kms, "GET", "/api/status", &[], None).await.0, 200, "the health page counts nowhere");
}

#[tokio::test(start_paused = true)]
async fn an_account_of_bitbucket_has_a_rolling_hour_for_all_who_ask() {
    let (bitbucket, kms, hands) = services();
    bitbucket.add(Token::new(EMAIL, "ATATT3x-second").scopes(["read:user:bitbucket"]));
    bitbucket.add(Token::new("other@example.com", "ATATT3x-third").scopes(["read:user:bitbucket"]));
    bitbucket.limit_per_hour(Some(3));
    let user = async |email: &str, token: &str| {
        let request = Request::get("/2.0/user").header("authorization", basic(email, token));
        let answer = bitbucket.call(Caller::Operator, request.body(Body::empty()).expect("a request")).await;
        let (parts, _) = answer.expect("an answer").into_parts();
        (parts.status.as_u16(), told(&parts.headers)[3].map(str::to_owned))
    };
    let create = async |name: &str| {
        let (status, _, body) = ask(&kms, "POST", BASE, &[SESSION], Some(create_body(name))).await;
        (status, String::from_utf8_lossy(&body).into_owned())
    };

    assert_eq!(user(EMAIL, TOKEN).await.0, 200);
    hands.forward(1_200);
    assert_eq!(user(EMAIL, "ATATT3x-second").await.0, 200, "another token of the account");
    assert_eq!(create("payments").await.0, 200);
    // The KMS shows the token to Bitbucket as the operator does, and hides the 429 in a 400.
    let (status, body) = create("other").await;
    assert_eq!(status, 400);
    assert!(body.contains("Failed to validate credentials: Request failed with status code 429"), "{body}");
    assert_eq!(user(EMAIL, TOKEN).await, (429, None), "Bitbucket doesn't promise to say when");
    assert_eq!(user("other@example.com", "ATATT3x-third").await.0, 200, "another account");
    assert_eq!(user(EMAIL, "unknown").await.0, 401, "a token of nobody costs nobody");

    bitbucket.tell_retry_after(true);
    assert_eq!(user(EMAIL, TOKEN).await, (429, Some("2400".to_owned())), "when the first call is an hour old");
    hands.forward(2_399);
    assert_eq!(user(EMAIL, TOKEN).await, (429, Some("1".to_owned())));
    hands.forward(1);
    assert_eq!(user(EMAIL, TOKEN).await.0, 200);
    assert_eq!(user(EMAIL, TOKEN).await.0, 429, "one went, one came");
    assert_eq!(bitbucket.tally().by(Caller::Kms).ended(429), 1);
    bitbucket.limit_per_hour(None);
    assert_eq!(user(EMAIL, TOKEN).await.0, 200);
}

#[tokio::test]
async fn each_service_limits_in_its_own_words() {
    let (bitbucket, kms, session) = world().await;
    for retry_after in [None, Some(7)] {
        bitbucket.fail_next(1, Fault::RateLimited { retry_after });
        kms.fail_next(1, Fault::RateLimited { retry_after });
        let of_bitbucket = user(&bitbucket, EMAIL, TOKEN).await;
        assert_eq!(of_bitbucket.json()["error"]["message"], "Rate limit for this resource has been exceeded");
        assert_eq!(of_bitbucket.header("x-ratelimit-remaining"), None);
        let of_kms = call(&kms, &session, "GET", "", None).await.expect("an answer");
        assert!(of_kms.message().starts_with("Rate limit exceeded"));
        assert_eq!(of_kms.header("x-ratelimit-remaining"), Some("0"));
        for answer in [of_bitbucket, of_kms] {
            assert_eq!((answer.status, answer.header("retry-after")), (429, retry_after.map(|_| "7")));
        }
    }
}
