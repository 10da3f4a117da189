//! The stand-in Bitbucket and KMS, in a process of their own, so that they can outlive the demo.
//!
//! The demo starts itself once more, as `demo stand-ins`. That process says on its first line where it listens; besides
//! the two services it has a back door that shows what the KMS holds, tokens included, though masked.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Stdio};

use axum::{Json, Router, extract::State, routing::get};
use controlplane::Undertaker;
use reqwest::Client;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sim::{Bitbucket, Caller, Connection, Kms, seed};
use tokio::net::TcpListener;

use crate::error::{Error, cannot};
use crate::screen::Table;

/// The argument that makes this program the stand-ins.
pub const MODE: &str = "stand-ins";
/// Where the back door is, if the port is free.
const BACK_DOOR_PORT: u16 = 7992;

/// Where everything listens.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Addresses {
    /// Such as `http://127.0.0.1:7990/2.0`.
    pub bitbucket: String,
    /// Such as `http://127.0.0.1:7991`.
    pub kms: String,
    /// A page for people; `/view` is the same for programs.
    pub back_door: String,
}

/// What the back door shows.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct View {
    /// All connections in the KMS.
    pub connections: Vec<Row>,
    /// How often the operator asked Bitbucket.
    pub bitbucket_calls: usize,
    /// How many requests reached the KMS.
    pub kms_calls: usize,
}

/// A connection in the KMS.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its project; none is the organization.
    pub project: Option<String>,
    /// The stored e-mail address.
    pub email: String,
    /// The stored token, [masked](mask).
    pub token: String,
    /// Its description, with the operator's mark.
    pub description: String,
}

impl From<&Connection> for Row {
    fn from(row: &Connection) -> Self {
        Self {
            id: row.id.clone(),
            name: row.name.clone(),
            project: row.project_id.clone(),
            email: row.email.clone(),
            token: mask(&row.api_token),
            description: row.description.clone().unwrap_or_default(),
        }
    }
}

/// The head and the tail of a token: enough to tell it from others.
pub fn mask(token: &str) -> String {
    let head: String = token.chars().take(5).collect();
    let tail: Vec<char> = token.chars().rev().take(5).collect();
    format!("{head}…{}", tail.into_iter().rev().collect::<String>())
}

/// Connections as a table.
pub fn table(rows: &[Row]) -> Table {
    let mut table = Table::new(&["NAME", "PROJECT", "E-MAIL", "TOKEN", "DESCRIPTION"]);
    for row in rows {
        let project = row.project.as_deref().map_or("(organization)".to_owned(), |id| {
            let head: String = id.chars().take(8).collect();
            head + "…"
        });
        table.row([row.name.as_str(), &project, &row.email, &row.token, &row.description].map(Into::into));
    }
    table
}

/// Such as "2 connections".
pub fn count(rows: &[Row]) -> String {
    match rows.len() {
        1 => "1 connection".to_owned(),
        many => format!("{many} connections"),
    }
}

/// The stand-ins, as seen by the demo.
#[derive(Debug)]
pub struct StandIns {
    /// Their process.
    pub child: Child,
    /// Where they listen.
    pub addresses: Addresses,
    client: Client,
}

impl StandIns {
    /// Starts them from the demo's own program; they end with the undertaker.
    pub async fn start(demo: &Path, undertaker: &Undertaker) -> Result<Self, Error> {
        let mut command = undertaker.command(demo);
        command.arg(MODE).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = undertaker.spawn(&mut command).map_err(cannot("start the stand-ins"))?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let read = move || {
            let mut line = String::new();
            let read = stdout.map(|stdout| BufReader::new(stdout).read_line(&mut line));
            match (read, serde_json::from_str(&line)) {
                (Some(Ok(_)), Ok(addresses)) => Ok(addresses),
                _ => {
                    let mut said = line;
                    let _ = stderr.map(|mut stderr| stderr.read_to_string(&mut said));
                    Err(Error::StandIns(said))
                }
            }
        };
        let read = tokio::task::spawn_blocking(read).await;
        let addresses = read.map_err(|error| Error::StandIns(error.to_string()))??;
        Ok(Self { child, addresses, client: Client::builder().no_proxy().build()? })
    }

    /// What is behind the back door.
    pub async fn view(&self) -> Result<View, Error> {
        let url = format!("{}/view", self.addresses.back_door);
        Ok(self.client.get(url).send().await?.error_for_status()?.json().await?)
    }

    /// What a person does who changes a connection by hand, through the KMS's own API.
    pub async fn edit(&self, id: &str, changes: &Value) -> Result<(), Error> {
        let url = format!("{}/api/v1/app-connections/bitbucket/{id}", self.addresses.kms);
        let request = self.client.patch(url).bearer_auth(seed::ACCESS_TOKEN).json(changes);
        request.send().await?.error_for_status()?;
        Ok(())
    }
}

/// Is the stand-ins, until killed.
pub async fn serve() -> Result<(), Error> {
    let listening = |what: &str| cannot(format!("listen for {what} on 127.0.0.1"));
    let bitbucket = match Bitbucket::start_at(local(seed::BITBUCKET_PORT)).await {
        Ok(bitbucket) => bitbucket,
        Err(_taken) => Bitbucket::start_at(local(0)).await.map_err(listening("Bitbucket"))?,
    };
    let kms = match Kms::start_at(local(seed::KMS_PORT), &bitbucket).await {
        Ok(kms) => kms,
        Err(_taken) => Kms::start_at(local(0), &bitbucket).await.map_err(listening("the KMS"))?,
    };
    let door = match TcpListener::bind(local(BACK_DOOR_PORT)).await {
        Ok(door) => door,
        Err(_taken) => TcpListener::bind(local(0)).await.map_err(listening("the back door"))?,
    };
    seed::seed(&bitbucket, &kms);
    let back_door = door.local_addr().map_err(listening("the back door"))?;
    let addresses = Addresses { bitbucket: bitbucket.url(), kms: kms.url(), back_door: format!("http://{back_door}") };
    writeln!(std::io::stdout(), "{}", json!(addresses)).map_err(cannot("tell where the stand-ins are"))?;
    let router = Router::new().route("/", get(page)).route("/view", get(|both| async move { Json(view(&both)) }));
    axum::serve(door, router.with_state((bitbucket, kms))).await.map_err(cannot("serve the back door"))
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

fn view(State((bitbucket, kms)): &State<(Bitbucket, Kms)>) -> View {
    View {
        connections: kms.connections().iter().map(Row::from).collect(),
        bitbucket_calls: bitbucket.calls_by(Caller::Operator),
        kms_calls: kms.logins() + kms.lists() + kms.gets() + kms.writes(),
    }
}

async fn page(both: State<(Bitbucket, Kms)>) -> String {
    let view = view(&both);
    let headline = format!("The KMS holds {}\n", count(&view.connections));
    if view.connections.is_empty() {
        return headline;
    }
    format!("{headline}\n{}\n", table(&view.connections).lines(120, false).join("\n"))
}
