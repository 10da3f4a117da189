//! An instance at the attacker's host: not one byte arrives there, nothing is read or minted for it.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bitbucket_connection_operator::api::KmsInstance;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::harness::{EMAIL, SECRET, TOKEN, World, condition};

/// A listener that counts who comes, and answers nobody.
struct Listener {
    port: u16,
    came: Arc<AtomicUsize>,
}

impl Listener {
    /// On all addresses of this machine.
    async fn start() -> Self {
        let came = Arc::new(AtomicUsize::new(0));
        let all = TcpListener::bind(SocketAddr::from(([0, 0, 0, 0], 0))).await.expect("a free port");
        let port = all.local_addr().expect("an address").port();
        let mut listeners = vec![all];
        // Where there is IPv6.
        listeners.extend(TcpListener::bind(SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], port))).await);
        for listener in listeners {
            let came = Arc::clone(&came);
            tokio::spawn(async move {
                while listener.accept().await.is_ok() {
                    came.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        Self { port, came }
    }

    fn came(&self) -> usize {
        self.came.load(Ordering::SeqCst)
    }
}

fn instance(name: &str, host: &str, auth: &Value) -> Value {
    json!({
        "apiVersion": "connections.kms.hanzo.ai/v1alpha1", "kind": "KmsInstance", "metadata": {"name": name},
        "spec": {"host": host, "auth": auth},
    })
}

async fn until_says(world: &World, name: &str, reason: &str) -> KmsInstance {
    let says = |instance: &KmsInstance| condition(instance, "Ready").1 == reason;
    world.until_instance(name, &format!("says {reason}"), says).await
}

#[tokio::test(flavor = "multi_thread")]
async fn not_one_byte_reaches_another_host_however_it_is_spelt() {
    let world = World::start().await;
    let attacker = Listener::start().await;
    let port = attacker.port;
    world.secret(SECRET, EMAIL, TOKEN).await;
    world.instance_secret().await;
    world.apply(json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "login"}})).await;
    world.let_mint("login").await;
    let proofs = [
        json!({"universal": {"secretRef": {"name": "kms-credentials"}}}),
        json!({"token": {"secretRef": {"name": "kms-credentials", "key": "clientSecret"}}}),
        json!({"kubernetes": {"identityId": "x", "serviceAccountRef": {"name": "login"}, "audience": "kms"}}),
    ];

    // The API server takes none of these: 127.0.0.1 alone is allowed, and is only pretended.
    for host in [
        format!("http://127.0.0.1@127.0.0.2:{port}"),
        format!("http://127.0.0.1:80@127.0.0.2:{port}"),
        format!("http://127.0.0.2:{port}/127.0.0.1"),
        format!("http://127.0.0.2:{port}?127.0.0.1"),
        format!("http://127.0.0.2:{port}#127.0.0.1"),
        format!("http://127.0.0.1\\@127.0.0.2:{port}"),
        format!("http://127.0.0.1 .127.0.0.2:{port}"),
        format!("//127.0.0.2:{port}"),
        format!("ftp://127.0.0.1:{port}"),
    ] {
        let refused = world.try_apply(instance("refused", &host, &proofs[0])).await;
        let refusal = refused.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(refusal.contains("host must be a URL"), "{host}: {refusal}");
    }

    // And the operator none of these, whatever the method of login.
    let hosts = [
        format!("http://127.0.0.2:{port}"),
        format!("https://127.0.0.2:{port}"),
        format!("HTTP://127.0.0.2:{port}"),
        format!("http://127.2:{port}"),
        format!("http://2130706434:{port}"),
        format!("http://0x7f000002:{port}"),
        format!("http://0177.0.0.2:{port}"),
        format!("http://127.0.0.2.:{port}"),
        format!("http://[::1]:{port}"),
        format!("http://[::ffff:127.0.0.1]:{port}"),
        format!("http://[0:0:0:0:0:ffff:7f00:2]:{port}"),
        format!("http://0.0.0.0:{port}"),
        format!("http://localhost:{port}"),
        format!("http://LocalHost.:{port}"),
        format!("http://127.0.0.1.localhost:{port}"),
    ];
    let named: Vec<(String, &String)> =
        hosts.iter().enumerate().map(|(at, host)| (format!("row-{at}"), host)).collect();
    for (at, (name, host)) in named.iter().enumerate() {
        let applied = world.try_apply(instance(name, host, &proofs[at % proofs.len()])).await;
        assert!(applied.is_ok(), "{host}: {applied:?}");
        world.connection(name).change(json!({"kmsRef": {"name": name}})).apply().await;
    }
    for (name, host) in &named {
        let instance = until_says(&world, name, "HostNotAllowed").await;
        let message = condition(&instance, "Ready").2;
        assert!(message.contains("Nothing was sent to it"), "{host}: {message}");
        assert_eq!(instance.status.and_then(|status| status.secret_version), None, "{host}: its Secret was looked at");
        world.not_ready(name, "KmsInstanceNotReady").await;
    }
    let of_instances = |read: &&String| read.contains("kms-credentials");
    assert_eq!((attacker.came(), world.api_reads().iter().find(of_instances)), (0, None));
    let minted = world.api_writes().into_iter().find(|write| write.resource == "serviceaccounts/token");
    assert_eq!((minted, world.kms.journal().len()), (None, 0));

    // The same looks at what is allowed show something: other spellings of the same address, and any port of it.
    let kms = world.kms.url();
    let allowed = kms.replace("127.0.0.1", "0x7f.1");
    world.apply(instance("allowed", &allowed, &proofs[0])).await;
    until_says(&world, "allowed", "Authenticated").await;
    for (name, proof) in [("secret", &proofs[0]), ("account", &proofs[2])] {
        world.apply(instance(name, &format!("http://127.0.0.1:{port}"), proof)).await;
    }
    world.api_writes_until(|writes| writes.iter().any(|write| write.resource == "serviceaccounts/token")).await;
    assert!(world.api_reads().iter().any(|read| of_instances(&read)));
    let came = async {
        while attacker.came() == 0 {
            tokio::time::sleep(crate::harness::PAUSE).await;
        }
    };
    crate::harness::in_time("the listener counts who comes", came).await;
}
