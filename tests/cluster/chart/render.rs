//! What the chart renders, and what it refuses to.

use serde_json::Value;

use crate::harness::chart::{CHART, VALUES, helm, objects, render, said, values};

fn kinds(objects: &[Value]) -> Vec<String> {
    let mut kinds: Vec<String> =
        objects.iter().map(|object| object["kind"].as_str().unwrap_or_default().to_owned()).collect();
    kinds.sort();
    kinds.dedup();
    kinds
}

fn of_kind<'a>(objects: &'a [Value], kind: &str) -> Vec<&'a Value> {
    objects.iter().filter(|object| object["kind"] == kind).collect()
}

#[tokio::test]
async fn helm_finds_nothing_to_complain_about() {
    for name in VALUES {
        let mut lint = helm().await.command();
        let linted = said(lint.args(["lint", "--strict", CHART, "--values", &values(name)])).await;
        linted.unwrap_or_else(|complaint| panic!("{name}: {complaint}"));
    }
}

#[tokio::test]
async fn the_package_holds_what_is_installed_and_no_more() {
    let folder = std::env::temp_dir().join(uuid::Uuid::new_v4().to_string());
    let mut package = helm().await.command();
    said(package.args(["package", CHART, "--destination"]).arg(&folder)).await.expect("a package");
    let file = std::fs::read_dir(&folder).expect("a folder").next().expect("a package").expect("a file").path();
    let mut tar = tokio::process::Command::new("tar");
    let listed = said(tar.arg("-tzf").arg(&file)).await.expect("a list");
    let size = file.metadata().expect("a file").len();
    std::fs::remove_dir_all(&folder).expect("a folder of our own");
    assert!(listed.contains("/values.schema.json") && listed.contains("/files/crds/"), "{listed}");
    assert!(!listed.contains("/ci/") && !listed.contains(".gotmpl"), "{listed}");
    // A release is kept in a Secret, which holds a megabyte: chart, values and what was rendered, compressed.
    assert!(size < 200_000, "{size} bytes");
}

#[tokio::test]
async fn each_mode_has_what_it_needs_and_nothing_else() {
    let usual =
        ["CustomResourceDefinition", "Deployment", "PodDisruptionBudget", "Role", "RoleBinding", "ServiceAccount"];
    let table = [
        ("cluster-wide", vec!["ClusterKmsInstance", "ClusterRole", "ClusterRoleBinding"]),
        ("namespaced", vec!["KmsInstance", "Service", "ServiceMonitor"]),
        ("all-on", vec!["ClusterRole", "ClusterRoleBinding", "KmsInstance", "NetworkPolicy", "PodMonitor"]),
    ];
    for (name, more) in table {
        let rendered = objects(&["--values", &values(name)]).await;
        let mut expected: Vec<&str> = usual.iter().copied().chain(more).collect();
        if name == "all-on" {
            // Where the files are there.
            let there = |file: &str| std::path::Path::new(CHART).join("files").join(file).exists();
            expected.extend(there("dashboard.json").then_some("ConfigMap"));
            expected.extend(there("alerts.yaml").then_some("PrometheusRule"));
        }
        expected.sort_unstable();
        assert_eq!(kinds(&rendered), expected, "{name}");
    }
    assert_eq!(kinds(&objects(&["--values", &values("all-off")]).await), ["Deployment"]);
}

#[tokio::test]
async fn namespaced_mode_has_no_right_beyond_its_namespaces() {
    let rendered = objects(&["--values", &values("namespaced")]).await;
    let mut places: Vec<&str> = of_kind(&rendered, "RoleBinding")
        .into_iter()
        .map(|binding| binding["metadata"]["namespace"].as_str().expect("a namespace"))
        .collect();
    places.sort_unstable();
    places.dedup();
    assert_eq!(places, ["bitbucket-connection-operator", "team-a", "team-b"]);
    // Tokens: of the one ServiceAccount that the instance names, in each namespace.
    let tokens: Vec<_> = of_kind(&rendered, "Role")
        .into_iter()
        .filter(|role| role["rules"][0]["resources"][0] == "serviceaccounts/token")
        .map(|role| (role["metadata"]["namespace"].clone(), role["rules"][0]["resourceNames"].clone()))
        .collect();
    assert_eq!(
        tokens,
        [("team-a".into(), ["kms-login"].as_slice().into()), ("team-b".into(), ["kms-login"].as_slice().into())]
    );

    // What outlives a namespace sees no Secret.
    let on = objects(&["--values", &values("all-on")]).await;
    let roles = of_kind(&on, "ClusterRole");
    let finish = roles.iter().find(|role| role["metadata"]["name"] == "bitbucket-connection-operator-finish");
    for rule in finish.expect("the role")["rules"].as_array().expect("rules") {
        assert_eq!(rule["apiGroups"], serde_json::json!(["connections.kms.hanzo.ai"]));
    }
}

#[tokio::test]
async fn tokens_are_minted_where_the_instance_looks_for_its_account() {
    let spec = "instance.create=true,instance.spec.auth.kubernetes.serviceAccountRef.name=kms-login";
    for (more, expected) in [("", "bitbucket-connection-operator"), (",instance.spec.namespace=kms", "kms")] {
        let rendered = objects(&["--set", &format!("{spec}{more}")]).await;
        let mut roles = of_kind(&rendered, "Role");
        roles.retain(|role| role["rules"][0]["resources"][0] == "serviceaccounts/token");
        assert_eq!((roles.len(), roles[0]["metadata"]["namespace"].as_str()), (1, Some(expected)));
    }
}

#[tokio::test]
async fn names_tell_releases_apart() {
    let long = format!("fullnameOverride={}", "a".repeat(60));
    let usual = "bitbucket-connection-operator";
    let table = [
        (usual, usual, "", usual.to_owned(), usual.to_owned()),
        ("mine", "ops", "", format!("mine-{usual}"), format!("ops-mine-{usual}")),
        ("mine", "ops", "nameOverride=bco", "mine-bco".to_owned(), "ops-mine-bco".to_owned()),
        ("mine", "ops", "fullnameOverride=bco", "bco".to_owned(), "ops-bco".to_owned()),
        ("mine", "ops", &long, "a".repeat(50), format!("ops-{}", "a".repeat(50))),
    ];
    for (release, namespace, set, in_namespace, in_cluster) in table {
        let mut template = helm().await.command();
        template.args([
            "template",
            release,
            CHART,
            "--namespace",
            namespace,
            "--set",
            "crds.install=false",
            "--set",
            set,
        ]);
        let rendered = said(&mut template).await.expect("manifests");
        let rendered: Vec<Value> = serde_saphyr::from_multiple(&rendered).expect("YAML");
        let name = |kind: &str| of_kind(&rendered, kind)[0]["metadata"]["name"].clone();
        assert_eq!((name("Deployment"), name("ClusterRoleBinding")), (in_namespace.into(), in_cluster.into()), "{set}");
    }
}

#[tokio::test]
async fn nobody_reads_tokens_or_writes_secrets_by_a_role_of_the_chart() {
    for name in VALUES {
        let rendered = objects(&["--values", &values(name)]).await;
        for role in [of_kind(&rendered, "Role"), of_kind(&rendered, "ClusterRole")].concat() {
            let for_people = role["metadata"]["labels"].as_object().is_some_and(|labels| {
                labels.keys().any(|label| label.starts_with("rbac.authorization.k8s.io/aggregate-to-"))
            });
            for rule in role["rules"].as_array().expect("rules") {
                let of = |field: &str| -> Vec<String> {
                    let all = rule[field].as_array().cloned().unwrap_or_default();
                    all.iter().map(|it| it.as_str().unwrap_or_default().to_owned()).collect()
                };
                let (resources, verbs) = (of("resources"), of("verbs"));
                assert!(
                    resources.iter().chain(&verbs).chain(&of("apiGroups")).all(|word| word != "*"),
                    "{name}: {rule}"
                );
                if resources.iter().any(|resource| resource == "secrets" || resource == "configmaps") {
                    assert_eq!(verbs, ["get", "list", "watch"], "{name}");
                }
                if resources.iter().any(|resource| resource == "serviceaccounts/token") {
                    assert!(!of("resourceNames").is_empty() && role["kind"] == "Role", "{name}: {rule}");
                }
                let status = resources.iter().any(|resource| resource.ends_with("/status"));
                assert!(!(for_people && status), "{name}: people write no status");
            }
        }
    }
}

#[tokio::test]
async fn what_is_wrong_is_refused_with_words_that_help() {
    let table: [(&[&str], &[&str]); 10] = [
        (&["replica=3"], &["replica", "not allowed"]),
        (&["replicas=many"], &["/replicas", "integer"]),
        (&["watchNamespaces={team-a}"], &["ownerId is needed with watchNamespaces", "--set ownerId="]),
        (&["watchNamespaces={Team}", "ownerId=a"], &["/watchNamespaces/0"]),
        (&["instance.create=true"], &["instance.spec.auth is needed", "secretRef"]),
        (
            &[
                "watchNamespaces={a}",
                "ownerId=a",
                "instance.create=true",
                "instance.spec.auth.token.secretRef.name=a",
                "instance.spec.namespace=b",
            ],
            &["instance.spec.namespace", "Leave them out"],
        ),
        (&["serviceAccount.create=false"], &["serviceAccount.name is needed"]),
        (&["serviceAccountTokens[0].namespace=a"], &["/serviceAccountTokens/0", "names"]),
        (&["image.digest=latest"], &["/image/digest"]),
        (&["podMonitor.create=true", "serviceMonitor.create=true"], &["twice", "leave one of them out"]),
    ];
    for (sets, words) in table {
        let more: Vec<&str> = sets.iter().flat_map(|set| ["--set", set]).collect();
        let complaint = render(&more).await.expect_err("it is refused");
        assert!(words.iter().all(|word| complaint.contains(word)), "{sets:?}: {complaint}");
    }
}

#[tokio::test]
async fn an_older_kubernetes_is_refused_and_any_other_gets_the_same() {
    let complaint = render(&["--kube-version", "1.29.14"]).await.expect_err("it is too old");
    assert!(complaint.contains("1.30.0") && complaint.contains("1.29.14"), "{complaint}");
    let usual = render(&[]).await.expect("manifests");
    // As vendors call theirs, too.
    for version in ["1.30.0", "v1.33.5-gke.1162000", "v1.31.0-eks-a737599", "1.99.0"] {
        assert!(render(&["--kube-version", version]).await.expect("manifests") == usual, "{version}");
    }
}

#[tokio::test]
async fn an_instance_is_a_hook_until_its_kind_is_there() {
    let kind = "connections.kms.hanzo.ai/v1alpha1/ClusterKmsInstance";
    let values = values("cluster-wide");
    for (more, is_hook) in [(vec![], true), (vec!["--api-versions", kind], false)] {
        let rendered = objects(&[&["--values", &values][..], &more].concat()).await;
        let annotations = &of_kind(&rendered, "ClusterKmsInstance")[0]["metadata"]["annotations"];
        assert_eq!(annotations["helm.sh/hook"].is_string(), is_hook, "{annotations}");
        assert_eq!(annotations["helm.sh/resource-policy"], "keep");
    }
}

#[tokio::test]
async fn a_service_monitor_finds_the_service_and_that_the_pods() {
    let rendered = objects(&["--values", &values("namespaced")]).await;
    let (service, monitor) = (of_kind(&rendered, "Service")[0], of_kind(&rendered, "ServiceMonitor")[0]);
    let pod = &of_kind(&rendered, "Deployment")[0]["spec"]["template"];
    let selects = |selector: &Value, labels: &Value| {
        let wanted = selector.as_object().expect("labels");
        !wanted.is_empty() && wanted.iter().all(|(name, value)| labels[name] == *value)
    };
    assert!(selects(&monitor["spec"]["selector"]["matchLabels"], &service["metadata"]["labels"]));
    assert!(selects(&service["spec"]["selector"], &pod["metadata"]["labels"]));
    assert_eq!(monitor["metadata"]["namespace"], service["metadata"]["namespace"]);
    assert_eq!(monitor["metadata"]["labels"]["release"], "prometheus");
    let (endpoint, port) = (&monitor["spec"]["endpoints"][0], &service["spec"]["ports"][0]);
    assert_eq!((&endpoint["port"], endpoint["path"].as_str()), (&port["name"], Some("/metrics")));
    assert_eq!(endpoint["honorLabels"], true);
    let ports = pod["spec"]["containers"][0]["ports"].as_array().expect("ports");
    assert!(ports.iter().any(|of_pod| of_pod["name"] == port["targetPort"]), "{port}");
}

#[tokio::test]
async fn monitoring_fits_the_pods() {
    let rendered = objects(&["--values", &values("all-on")]).await;
    let pod = &of_kind(&rendered, "Deployment")[0]["spec"]["template"];
    let labels = pod["metadata"]["labels"].as_object().expect("labels");
    let selects = |selector: &Value| {
        let wanted = selector["matchLabels"].as_object().expect("labels");
        !wanted.is_empty() && wanted.iter().all(|(name, value)| labels.get(name) == Some(value))
    };
    let port = |name: &Value| {
        let ports = pod["spec"]["containers"][0]["ports"].as_array().expect("ports");
        ports.iter().any(|port| port["name"] == *name)
    };
    let monitor = of_kind(&rendered, "PodMonitor")[0];
    assert!(selects(&monitor["spec"]["selector"]));
    assert_eq!(monitor["metadata"]["labels"]["release"], "prometheus");
    for endpoint in monitor["spec"]["podMetricsEndpoints"].as_array().expect("endpoints") {
        assert!(port(&endpoint["port"]) && endpoint["path"] == "/metrics");
    }
    let container = &pod["spec"]["containers"][0];
    for (probe, path) in [("livenessProbe", "/livez"), ("readinessProbe", "/readyz")] {
        assert!(port(&container[probe]["httpGet"]["port"]) && container[probe]["httpGet"]["path"] == path);
    }
    for kind in ["PodDisruptionBudget", "Deployment"] {
        assert!(selects(&of_kind(&rendered, kind)[0]["spec"]["selector"]), "{kind}");
    }
    let policy = &of_kind(&rendered, "NetworkPolicy")[0]["spec"];
    assert!(selects(&policy["podSelector"]));
    for rule in policy["ingress"].as_array().expect("rules") {
        assert!(port(&rule["ports"][0]["port"]), "{rule}");
    }
    for constraint in pod["spec"]["topologySpreadConstraints"].as_array().expect("constraints") {
        assert!(selects(&constraint["labelSelector"]), "{constraint}");
    }
    for rule in of_kind(&rendered, "PrometheusRule") {
        assert_eq!(rule["metadata"]["labels"]["release"], "prometheus");
        for group in rule["spec"]["groups"].as_array().expect("groups") {
            for alert in group["rules"].as_array().expect("rules") {
                let named = alert["alert"].is_string() || alert["record"].is_string();
                assert!(group["name"].is_string() && named && alert["expr"].is_string(), "{alert}");
            }
        }
    }
    for dashboard in of_kind(&rendered, "ConfigMap") {
        assert_eq!(dashboard["metadata"]["labels"]["grafana_dashboard"], "1");
        let json = dashboard["data"]["bitbucket-connections.json"].as_str().expect("a file");
        assert!(serde_json::from_str::<Value>(json).expect("JSON")["panels"].is_array());
    }
}
