//! Both stand-ins on fixed ports, with an example of everything, for trying things by hand.

use std::error::Error;
use std::fmt::Display;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use sim::seed::{self, CLIENT_ID, CLIENT_SECRET, EMAIL, PROJECT, TOKENS};
use sim::{Bitbucket, Connection, Fault, Flavor, Kms, Limits};

const USAGE: &str = "\
Stand-in Bitbucket and KMS, in memory, for trying things by hand

Usage: sim [--bitbucket-addr ADDRESS] [--kms-addr ADDRESS] [--latency-ms N] [--kms-flavor FLAVOR] [--limits]

  --bitbucket-addr  where Bitbucket listens [127.0.0.1:7990]
  --kms-addr        where the KMS listens [127.0.0.1:7991]
  --latency-ms      how long every answer takes [0]
  --kms-flavor      current, older (no projects, names up to 32 characters) or go (no app connections) [current]
  --limits          allow as much as the real ones: of the KMS 60 reads and 200 writes a minute, of Bitbucket 1,000
                    calls an hour, and answer 429 beyond";

struct Options {
    bitbucket: SocketAddr,
    kms: SocketAddr,
    latency: Duration,
    flavor: Flavor,
    limits: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sim: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn Error>> {
    let Some(options) = options(std::env::args().skip(1))? else {
        println!("{USAGE}");
        return Ok(());
    };
    let bitbucket = Bitbucket::start_at(options.bitbucket).await?;
    let kms = Kms::start_at(options.kms, &bitbucket).await?;
    seed::seed(&bitbucket, &kms);
    kms.insert(Connection::new("made-by-hand").project(PROJECT).description("Not the operator's"));
    kms.set_flavor(options.flavor);
    if options.limits {
        kms.set_limits(Limits::USUAL);
        bitbucket.limit_per_hour(Some(1_000));
    }
    if !options.latency.is_zero() {
        bitbucket.fail(Fault::Delay(options.latency));
        kms.fail(Fault::Delay(options.latency));
    }
    print(&bitbucket, &kms);
    // Until Ctrl-C.
    std::future::pending().await
}

fn options(args: impl Iterator<Item = String>) -> Result<Option<Options>, Box<dyn Error>> {
    let mut options = Options {
        bitbucket: SocketAddr::from(([127, 0, 0, 1], seed::BITBUCKET_PORT)),
        kms: SocketAddr::from(([127, 0, 0, 1], seed::KMS_PORT)),
        latency: Duration::ZERO,
        flavor: Flavor::Current,
        limits: false,
    };
    let mut args = args;
    while let Some(arg) = args.next() {
        let (name, value) = match arg.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (arg, None),
        };
        if name == "--help" || name == "-h" {
            return Ok(None);
        }
        if name == "--limits" && value.is_none() {
            options.limits = true;
            continue;
        }
        if !["--bitbucket-addr", "--kms-addr", "--latency-ms", "--kms-flavor"].contains(&name.as_str()) {
            return Err(format!("unknown option {name}\n\n{USAGE}").into());
        }
        let value = value.or_else(|| args.next()).ok_or(format!("{name} needs a value"))?;
        let unfit = |error: &dyn Display| format!("{name} {value}: {error}");
        match name.as_str() {
            "--bitbucket-addr" => options.bitbucket = value.parse().map_err(|e| unfit(&e))?,
            "--kms-addr" => options.kms = value.parse().map_err(|e| unfit(&e))?,
            "--kms-flavor" => options.flavor = flavor(&value).ok_or_else(|| unfit(&"no such flavor"))?,
            _ => options.latency = Duration::from_millis(value.parse().map_err(|e| unfit(&e))?),
        }
    }
    Ok(Some(options))
}

fn flavor(name: &str) -> Option<Flavor> {
    match name {
        "current" => Some(Flavor::Current),
        "older" => Some(Flavor::Older),
        "go" => Some(Flavor::Go),
        _ => None,
    }
}

fn print(bitbucket: &Bitbucket, kms: &Kms) {
    let (bitbucket, kms) = (bitbucket.url(), kms.url());
    let (id, secret) = (CLIENT_ID, CLIENT_SECRET);
    println!("Bitbucket  {bitbucket}");
    println!("KMS        {kms}");
    println!();
    println!("Identity   clientId {id}, clientSecret {secret}");
    println!("Project    {PROJECT}, with a connection \"made-by-hand\" in it");
    println!("E-mail     {EMAIL}, with these tokens:");
    for (token, what) in TOKENS {
        println!("           {token:<19} {what}");
    }
    println!();
    println!("Try:");
    println!("  curl -i -u {EMAIL}:{} {bitbucket}/user", TOKENS[0].0);
    println!("  curl -s {kms}/api/v1/auth/universal-auth/login -H 'content-type: application/json' \\");
    println!("    -d '{{\"clientId\":\"{id}\",\"clientSecret\":\"{secret}\"}}'");
    println!("  curl -s {kms}/api/v1/app-connections/bitbucket -H \"authorization: Bearer $accessToken\"");
    println!();
    println!("Run the operator with --bitbucket-url {bitbucket} --allow-insecure-kms --allowed-kms-hosts 127.0.0.1");
    println!("and, if the KMS has its usual port, apply examples/. Ctrl-C ends both; nothing is kept.");
}
