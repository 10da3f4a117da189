//! A real Prometheus that scrapes the operator of a world, with the project's alerts.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Stdio},
    sync::Arc,
};

use serde_json::Value;
use tokio::sync::watch;

use crate::harness::{PATIENCE, PAUSE, World, in_time};

/// One that runs. It is killed when this is dropped, and with the process of the tests.
pub struct Prometheus<'a> {
    world: &'a World,
    process: Child,
    address: String,
    client: reqwest::Client,
    log: Arc<watch::Sender<Vec<String>>>,
}

/// One series of an answer.
#[derive(Clone, Debug)]
pub struct Sample {
    labels: BTreeMap<String, String>,
    pub value: f64,
}

impl Sample {
    /// A label; empty where it isn't there.
    pub fn label(&self, name: &str) -> String {
        self.labels.get(name).cloned().unwrap_or_default()
    }
}

impl<'a> Prometheus<'a> {
    /// Starts one, and waits until it listens. It scrapes each second, and evaluates more often.
    pub async fn start(program: &Path, world: &'a World) -> Self {
        let folder = folder(world);
        let operator = world.operator.address("metrics").expect("an operator that runs");
        let alerts =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("charts/bitbucket-connection-operator/files/alerts.yaml");
        let config = serde_json::json!({
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "250ms"},
            "rule_files": [alerts],
            "scrape_configs": [{
                "job_name": "operator", "honor_labels": true, "static_configs": [{"targets": [operator]}],
            }],
        });
        std::fs::create_dir_all(&folder).expect("a folder");
        // YAML takes JSON.
        let config_file = folder.join("prometheus.yml");
        std::fs::write(&config_file, config.to_string()).expect("a file");

        let undertaker = world.plane().control_plane.undertaker();
        let mut command = undertaker.command(program);
        command
            .arg(format!("--config.file={}", config_file.display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
            .args(["--web.listen-address=127.0.0.1:0", "--log.format=json", "--enable-feature=exemplar-storage"])
            .current_dir(&folder)
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut process = undertaker.spawn(&mut command).expect("a process");
        let log = Arc::new(watch::Sender::<Vec<String>>::default());
        let (pipe, lines) = (process.stderr.take().expect("a pipe"), Arc::clone(&log));
        std::thread::spawn(move || {
            for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                lines.send_modify(|lines| lines.push(line));
            }
        });
        let mut told = log.subscribe();
        let listening = |lines: &Vec<String>| lines.iter().find_map(|line| listens(line));
        let seen = in_time("Prometheus listens", told.wait_for(|lines| listening(lines).is_some())).await;
        let address = seen.ok().and_then(|lines| listening(&lines)).expect("it tells where it listens");
        let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().expect("an HTTP client");
        let prometheus = Self { world, process, address, client, log };
        in_time("Prometheus is ready", prometheus.is_ready()).await;
        prometheus
    }

    /// Asks until it is ready: it listens some time before.
    async fn is_ready(&self) {
        let url = format!("http://{}/-/ready", self.address);
        while self.client.get(&url).send().await.is_ok_and(|answer| !answer.status().is_success()) {
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// The data of an answer of its API.
    pub async fn get(&self, path: &str, parameters: &[(&str, &str)]) -> Value {
        let url = format!("http://{}{path}", self.address);
        let answer = self.client.get(url).query(parameters).send().await.expect("an answer");
        let mut answer: Value = answer.json().await.expect("JSON");
        assert_eq!(answer["status"], "success", "{path} {parameters:?}: {answer}");
        answer["data"].take()
    }

    /// The answer to a query, in its order. A query that can't be read is a failure.
    pub async fn query(&self, query: &str) -> Vec<Sample> {
        let data = self.get("/api/v1/query", &[("query", query)]).await;
        let series = data["result"].as_array().cloned().unwrap_or_default();
        let samples = series.into_iter().map(|series| Sample {
            labels: serde_json::from_value(series["metric"].clone()).expect("labels"),
            value: series["value"][1].as_str().and_then(|value| value.parse().ok()).expect("a number"),
        });
        samples.collect()
    }

    /// Asks until this holds for the answer; nothing tells when. `what` ends the sentence "it isn't so that …".
    pub async fn until(&self, query: &str, what: &str, holds: impl Fn(&[Sample]) -> bool) -> Vec<Sample> {
        let asked = async {
            loop {
                let answer = self.query(query).await;
                if holds(&answer) {
                    break answer;
                }
                tokio::time::sleep(PAUSE).await;
            }
        };
        if let Ok(answer) = tokio::time::timeout(PATIENCE, asked).await {
            return answer;
        }
        panic!("it isn't so that {what}: {:#?}\n{}", self.query(query).await, self.tail());
    }

    /// All alerting rules as it sees them.
    pub async fn rules(&self) -> Vec<Value> {
        let groups = self.get("/api/v1/rules", &[("type", "alert")]).await["groups"].take();
        let groups = groups.as_array().cloned().unwrap_or_default();
        groups.iter().flat_map(|group| group["rules"].as_array().cloned().unwrap_or_default()).collect()
    }

    /// Alerts that are pending or firing: alert, connection and contact, in alphabetical order.
    pub async fn alerts(&self) -> Vec<String> {
        let alerts = self.get("/api/v1/alerts", &[]).await["alerts"].take();
        let told = |alert: &Value| {
            let label = |name: &str| alert["labels"][name].as_str().unwrap_or_default().to_owned();
            format!("{} {} {}", label("alertname"), label("name"), label("contact"))
        };
        let mut alerts: Vec<_> = alerts.as_array().into_iter().flatten().map(told).collect();
        alerts.sort();
        alerts
    }

    /// Asks until exactly these are there.
    pub async fn until_alerts(&self, expected: &[String]) {
        let asked = async {
            while self.alerts().await != expected {
                tokio::time::sleep(PAUSE).await;
            }
        };
        let in_time = tokio::time::timeout(PATIENCE, asked).await;
        assert!(in_time.is_ok(), "expected {expected:#?}, found {:#?}\n{}", self.alerts().await, self.tail());
    }

    fn tail(&self) -> String {
        let lines = self.log.borrow();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for Prometheus<'_> {
    fn drop(&mut self) {
        // Fails only for a process that is gone.
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = self.world.plane().control_plane.undertaker().forget(self.process.id());
        let _ = std::fs::remove_dir_all(folder(self.world));
    }
}

fn folder(world: &World) -> PathBuf {
    world.plane().control_plane.dir().join(format!("prometheus-{}", world.namespace()))
}

/// The address in the line that tells of it.
fn listens(line: &str) -> Option<String> {
    let line: Value = serde_json::from_str(line).ok()?;
    (line["msg"] == "Listening on").then(|| line["address"].as_str().map(str::to_owned)).flatten()
}
