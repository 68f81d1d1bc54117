//! The learner's further ranks: how many, where they meet, and who reaches them.

use yaml_rust2::Yaml;

use crate::kubernetes::manifests::{
    argument, command_line, container, items, name, of_kind, pods, port, text, texts, variants,
};

/// The components of a selector that names several.
pub(crate) fn one_of(selector: &Yaml) -> Vec<String> {
    let expressions = items(&selector["matchExpressions"]);
    assert_eq!(expressions.len(), 1, "{selector:?}");
    assert_eq!(text(&expressions[0]["key"]), "app.kubernetes.io/component");
    assert_eq!(text(&expressions[0]["operator"]), "In");
    texts(&expressions[0]["values"])
}

/// The learner and its ranks reach each other at the ports that they choose, and nobody else does.
pub(crate) fn check_policy_of_ranks(spec: &Yaml) {
    let all = ["learner", "rank"];
    assert_eq!(one_of(&spec["podSelector"]), all);
    assert_eq!(texts(&spec["policyTypes"]), ["Ingress", "Egress"]);
    for (rules, way) in [(&spec["ingress"], "from"), (&spec["egress"], "to")] {
        assert_eq!(items(rules).len(), 1);
        let (peers, ports) = (items(&rules[0][way]), items(&rules[0]["ports"]));
        assert_eq!((peers.len(), ports.len()), (1, 1));
        assert_eq!(one_of(&peers[0]["podSelector"]), all);
        assert!(peers[0]["namespaceSelector"].is_badvalue() && peers[0]["ipBlock"].is_badvalue());
        let port = &ports[0];
        assert_eq!(text(&port["protocol"]), "TCP");
        assert_eq!(
            (port["port"].as_i64(), port["endPort"].as_i64()),
            (Some(1024), Some(65535))
        );
    }
}

#[test]
fn the_ranks_of_an_overlay_are_as_many_as_they_say() {
    let mut seen = 0;
    for (variant, objects) in variants() {
        let sets = of_kind(&objects, "StatefulSet");
        let Some(ranks) = sets.iter().find(|set| name(set) == "rank") else {
            continue;
        };
        seen += 1;
        let pods = pods(&objects);
        let value = |pod: &str, variable: &str| {
            let container = container(pods[pod]);
            let found = items(&container["env"])
                .iter()
                .find(|each| text(&each["name"]) == variable);
            text(&found.unwrap_or_else(|| panic!("{variant}, {pod}: {variable}"))["value"])
        };
        let world: i64 = value("rank", "ANYTIME_WORLD").parse().unwrap();
        assert_eq!(value("learner", "ANYTIME_WORLD"), world.to_string(), "{variant}");
        assert_eq!(ranks["spec"]["replicas"].as_i64(), Some(world - 1), "{variant}");
        assert_eq!(
            ranks["spec"]["ordinals"]["start"].as_i64(),
            Some(1),
            "{variant}: rank 0 is the learner"
        );
        assert_eq!(
            value("rank", "ANYTIME_DEVICE"),
            value("learner", "ANYTIME_DEVICE"),
            "{variant}"
        );
        let meeting = argument(&command_line(container(pods["rank"])), "--store").unwrap();
        assert_eq!(meeting.split(':').next(), Some("learner"), "{variant}");
        assert_eq!(port(&meeting), port(&value("learner", "ANYTIME_STORE")), "{variant}");
    }
    // Without the tool that puts overlays together there is only the base.
    assert!(seen == 1 || variants().len() == 1, "{seen}");
}
