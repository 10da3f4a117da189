//! What the chart puts into the container's environment has the effect that its values promise.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use serde_json::{Value, json};
use sim::{Authority, Kms};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    sync::Mutex,
};

use crate::harness::{CLIENT_ID, CLIENT_SECRET, EMAIL, PROJECT, SECRET, TOKEN, World, chart::objects};

/// The pod that the chart makes of these values.
async fn pod(values: &[&str]) -> Value {
    let values: Vec<&str> = values.iter().flat_map(|value| ["--set", value]).collect();
    let rendered = objects(&values).await;
    let deployment = rendered.into_iter().find(|object| object["kind"] == "Deployment").expect("a Deployment");
    deployment["spec"]["template"]["spec"].clone()
}

fn environment(pod: &Value) -> BTreeMap<String, String> {
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let all = pod["containers"][0]["env"].as_array().expect("an environment").iter();
    all.map(|variable| (text(&variable["name"]), text(&variable["value"]))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_is_trusted_besides_the_systems() {
    let pod = pod(&["caBundle.configMap=company-cas"]).await;
    let mount = &pod["containers"][0]["volumeMounts"][0];
    let volume = &pod["volumes"][0];
    assert_eq!((&mount["name"], &volume["configMap"]["name"]), (&volume["name"], &json!("company-cas")));
    let dirs = environment(&pod).remove("SSL_CERT_DIR").expect("folders with CAs");
    assert!(dirs.starts_with("/etc/ssl/certs:"), "the system's are kept: {dirs}");

    let world = World::builder().without_operator().start().await;
    let authority = Authority::new("a company's CA");
    let kms = Kms::start_tls(&world.bitbucket, authority.issue()).await;
    kms.add_identity(CLIENT_ID, CLIENT_SECRET);
    kms.add_project(PROJECT);
    world.secret(SECRET, EMAIL, TOKEN).await;
    world.instance_with(json!({"host": kms.url()})).await;
    world.connection("payments").apply().await;
    world.operator.start().await;
    world.until_instance_says("kms", "TlsFailed").await;
    world.operator.kill().await;

    // What the kubelet makes of a ConfigMap: links to a folder that is replaced as a whole.
    let dir = world.plane().control_plane.dir().join(world.namespace());
    std::fs::create_dir_all(dir.join("..data-1")).expect("a folder");
    std::fs::write(dir.join("..data-1/ca.crt"), authority.pem()).expect("a file");
    std::os::unix::fs::symlink("..data-1", dir.join("..data")).expect("a link");
    let file = volume["configMap"]["items"][0]["path"].as_str().expect("a file");
    std::os::unix::fs::symlink(format!("..data/{file}"), dir.join(file)).expect("a link");
    let here = dirs.replace(mount["mountPath"].as_str().expect("a path"), dir.to_str().expect("a path"));
    assert_ne!(here, dirs, "the folder is where the bundle is mounted");
    let operator = world.replica_with(&[("SSL_CERT_DIR", &here)]);
    operator.start().await;
    world.ready("payments").await;
}

/// A proxy that notes whom it was asked for.
async fn proxy() -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let (address, asked) = (listener.local_addr().expect("an address"), Arc::new(Mutex::new(Vec::new())));
    let noted = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let noted = Arc::clone(&noted);
            tokio::spawn(async move {
                let mut first = vec![0; 4096];
                let read = near.read(&mut first).await.unwrap_or_default();
                if read == 0 {
                    // A client may open one more than it needs.
                    return;
                }
                let line = String::from_utf8_lossy(&first[..read]).into_owned();
                // "GET http://127.0.0.1:1234/path HTTP/1.1", or "CONNECT 127.0.0.1:1234 HTTP/1.1"
                let tunnel = line.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next());
                let plain = || line.split("://").nth(1).and_then(|rest| rest.split('/').next());
                let server = tunnel.or_else(plain).unwrap_or_default();
                noted.lock().await.push(server.to_owned());
                if let Ok(mut far) = TcpStream::connect(server).await {
                    let _ = match tunnel {
                        Some(_) => near.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await,
                        None => far.write_all(&first[..read]).await,
                    };
                    let _ = copy_bidirectional(&mut near, &mut far).await;
                }
            });
        }
    });
    (address, asked)
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_go_through_the_proxy_unless_their_host_is_left_out() {
    let world = World::builder().without_operator().start().await;
    world.secret(SECRET, EMAIL, TOKEN).await;
    world.instance().await;
    let server = |url: String| url.split("://").nth(1).and_then(|rest| rest.split('/').next().map(str::to_owned));
    let servers = [server(world.bitbucket.url()), server(world.kms.url())].map(|server| server.expect("a server"));
    for (left_out, name) in [("", "through"), ("proxy.noProxy=127.0.0.1", "around")] {
        let (address, asked) = proxy().await;
        let through = format!("proxy.http=http://{address}");
        let values: Vec<&str> = [through.as_str(), left_out].into_iter().filter(|value| !value.is_empty()).collect();
        let environment = environment(&pod(&values).await);
        let variables: Vec<(&str, &str)> =
            environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let operator = world.replica_with(&variables);
        operator.start().await;
        world.connection(name).apply().await;
        world.ready(name).await;
        operator.kill().await;
        let mut asked = std::mem::take(&mut *asked.lock().await);
        asked.sort();
        asked.dedup();
        let mut expected = if left_out.is_empty() { servers.to_vec() } else { Vec::new() };
        expected.sort();
        assert_eq!(asked, expected, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn outside_of_a_cluster_the_api_server_is_reached_as_kubectl_reaches_it() {
    let world = World::builder().without_operator().start().await;
    let server = world.plane().control_plane.server().replace("https://", "");
    for (no_proxy, expected) in [("", vec![server]), ("127.0.0.1", Vec::new())] {
        let (address, asked) = proxy().await;
        let operator = world.replica_with(&[("HTTPS_PROXY", &format!("http://{address}")), ("NO_PROXY", no_proxy)]);
        operator.start().await;
        operator.kill().await;
        let mut asked = std::mem::take(&mut *asked.lock().await);
        asked.dedup();
        assert_eq!(asked, expected, "NO_PROXY={no_proxy}");
    }
}
