//! Bitbucket's certificate, which those of the system vouch for.

use sim::{Authority, Terminator};

use crate::harness::{EMAIL, Kstatus, SECRET, TOKEN, World, assert_condition, gives_away, kstatus};

#[tokio::test(flavor = "multi_thread")]
async fn bitbucket_is_sent_no_token_before_its_certificate_is_trusted() {
    let world = World::builder().without_arg("--bitbucket-url").without_operator().start().await;
    let (authority, unknown) = (Authority::new("a CA"), Authority::new("an unknown CA"));
    let system = world.plane().control_plane.dir().join(format!("{}.pem", world.namespace()));
    std::fs::write(&system, authority.pem()).expect("a file");
    let door = Terminator::before(&world.bitbucket, unknown.issue()).await;
    let url = format!("{}/2.0", door.origin());
    let operator = world
        .replica_as(&["--bitbucket-url", &url], &[("SSL_CERT_FILE", system.to_str().expect("a path that is a text"))]);
    operator.start().await;
    world.secret(SECRET, EMAIL, TOKEN).await;
    world.instance().await;
    world.connection("payments").apply().await;
    let words = &["the certificate of Bitbucket is not trusted", "asked again by itself"];
    let table = [
        ("an unknown CA", None),
        ("expired", Some(authority.issue_expired())),
        ("not yet valid", Some(authority.issue_for_later())),
        ("another name", Some(authority.issue_for("bitbucket.example.com"))),
    ];
    for (number, (name, bad)) in table.iter().enumerate() {
        if let Some(bad) = bad {
            door.show(bad.clone());
            world.request_reconcile("payments").await;
        }
        let bbc = world.until_reason("payments", "CredentialsValid", "BitbucketUnavailable").await;
        assert_condition(&bbc, "CredentialsValid", "Unknown", "BitbucketUnavailable", words);
        let expected = if number == 0 { Kstatus::InProgress } else { Kstatus::Current };
        assert_eq!(kstatus(&bbc), expected, "{name}: what was Ready stays so");
        let asked = world.bitbucket.calls_by(sim::Caller::Operator);
        assert_eq!(asked, number, "{name}: nothing arrives but what a good certificate let through");
        // Whoever mends it needn't tell anybody here.
        door.show(authority.issue());
        world.until_reason("payments", "CredentialsValid", "Authenticated").await;
        world.ready("payments").await;
    }
    assert_eq!((world.kms.writes(), world.told("payments").await), (1, vec!["ConnectionCreated".to_owned()]));
    assert!(!gives_away(&operator.log(), TOKEN));
    world.assert_silent(&[]).await;
    println!("proof: TLS of Bitbucket: certificates that are no good | {}", table.len());
}
