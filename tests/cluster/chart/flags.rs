//! What the chart sets is what the operator understands: no flag is forgotten, none is misspelt.

use bitbucket_connection_operator::cli::{self, Cli, Task};
use clap::Parser;
use serde_json::Value;

use crate::harness::chart::{VALUES, objects, values};

/// The arguments of the operator's container.
async fn args(more: &[&str]) -> Vec<String> {
    let objects = objects(more).await;
    let deployment = objects.iter().find(|object| object["kind"] == "Deployment").expect("a Deployment");
    let args = deployment["spec"]["template"]["spec"]["containers"][0]["args"].as_array().expect("arguments");
    args.iter().map(|arg| arg.as_str().expect("a text").to_owned()).collect()
}

fn parse(args: &[String]) -> cli::RunOptions {
    let line = std::iter::once("bitbucket-connection-operator".to_owned()).chain(args.iter().cloned());
    match Cli::try_parse_from(line).unwrap_or_else(|error| panic!("{args:?}: {error}")).command {
        Task::Run(options) => *options,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn every_value_file_makes_a_command_line_that_is_understood() {
    for name in VALUES {
        let options = parse(&args(&["--values", &values(name)]).await);
        assert!(options.leader_elect && options.terms().is_ok_and(|terms| terms.covers_requests()), "{name}");
    }
}

#[tokio::test]
async fn defaults_are_those_of_the_operator() {
    let (of_chart, own) = (parse(&args(&[]).await), parse(&["run".to_owned()]));
    // What a chart is for: several replicas, and logs for machines.
    let own = format!("{own:?}").replace("leader_elect: false", "leader_elect: true");
    assert_eq!(format!("{of_chart:?}"), own.replace("log_format: Text", "log_format: Json"));
}

#[tokio::test]
async fn every_flag_can_be_set_by_a_value() {
    let args = args(&["--values", &values("all-on")]).await;
    let command = cli::command();
    let run = command.find_subcommand("run").expect("the command run");
    for flag in run.get_arguments().filter_map(|arg| arg.get_long()).filter(|flag| *flag != "help") {
        let set = args.iter().any(|arg| arg.split('=').next() == Some(&format!("--{flag}")));
        assert!(set, "the chart has no value for --{flag}: {args:#?}");
    }
    let options = parse(&args);
    assert_eq!(options.namespaces, ["team-a"]);
    assert_eq!(options.allowed_kms_hosts.len(), 2);
    assert_eq!(options.previous_owner_ids.len(), 2);
    assert_eq!((options.concurrency.get(), options.kms_reads_per_minute.get()), (32, None));
    assert!(options.allow_insecure_kms);
    assert_eq!(options.metrics_addr.to_string(), "[::]:8080");
    assert_eq!(options.bitbucket_url.as_str(), "https://bitbucket.example.com/2.0");
}

#[tokio::test]
async fn values_and_their_schema_are_the_same() {
    let read = |file: &str| {
        let path = format!("{}/{file}", crate::harness::chart::CHART);
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
    };
    let values: Value = serde_saphyr::from_str(&read("values.yaml")).expect("YAML");
    let schema: Value = serde_json::from_str(&read("values.schema.json")).expect("JSON");
    same_keys("", &values, &schema);
}

/// Wherever the schema knows the keys of an object, they are those of the values, and no others are let through.
fn same_keys(path: &str, values: &Value, schema: &Value) {
    let (Some(values), Some(properties)) = (values.as_object(), schema["properties"].as_object()) else { return };
    assert_eq!(schema["additionalProperties"], false, "{path} takes keys that nobody reads");
    let mut known: Vec<&String> = properties.keys().filter(|key| *key != "global").collect();
    let mut there: Vec<&String> = values.keys().collect();
    known.sort();
    there.sort();
    assert_eq!(known, there, "keys of {path:?} in values.schema.json and in values.yaml");
    for key in there {
        same_keys(&format!("{path}.{key}"), &values[key], &properties[key]);
    }
}
