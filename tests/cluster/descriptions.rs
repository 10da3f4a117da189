//! Descriptions, at the limits of the KMS: it counts UTF-16 units and trims as JavaScript does. Those beyond the limits are
//! in `kms_refusals::spec` and `schema::connection`.

use serde_json::json;

use crate::harness::{EMAIL, SECRET, TOKEN, World};

#[tokio::test(flavor = "multi_thread")]
async fn a_text_arrives_whole_and_stays_as_it_is() {
    let world = World::start().await;
    world.secret(SECRET, EMAIL, TOKEN).await;
    world.instance().await;
    let long = "a".repeat(200);
    let (emoji, astral) = ("😀".repeat(100), "𝕏".repeat(100));
    let padded = format!("{}{}", " ".repeat(100), "b".repeat(100));
    // Name, text, what is before the mark
    let table = [
        ("long", long.as_str(), long.as_str()),
        ("emoji", &emoji, &emoji),
        ("astral", &astral, &astral),
        ("padded", &padded, padded.trim()),
        ("spaces", "  Payments \r\n\t", "Payments"),
        ("byte-order-mark", "\u{feff}Payments\u{feff}", "Payments"),
        ("next-line", "\u{85}Payments\u{85}", "Payments"),
        ("ideographic", "\u{3000}Payments\u{2029}", "Payments"),
        ("inside", "a \u{feff}\n b", "a \u{feff}\n b"),
        ("joined", "👩‍👩‍👧‍👦 e\u{301}", "👩‍👩‍👧‍👦 e\u{301}"),
        ("brackets", "[k8s:] [draft]", "[k8s:] [draft]"),
        ("empty", "", ""),
        ("nothing-but-space", " \u{feff} ", ""),
    ];
    for (name, text, _) in table {
        world.connection(name).change(json!({"description": text})).apply().await;
    }
    for (name, _, stored) in table {
        world.ready(name).await;
        let description = world.row(name).description.unwrap_or_default();
        let (text, mark) = description.rsplit_once("[k8s:").expect("a mark");
        assert_eq!((text.strip_suffix(' ').unwrap_or(text), mark.len()), (stored, 19), "{name}");
        assert!(description.encode_utf16().count() <= 256, "{name}");
        world.request_reconcile(name).await;
    }
    assert_eq!(world.kms.writes(), table.len(), "one for each: nothing looks like drift");

    // The same when a text changes: each takes the next one's, once.
    for (at, (name, ..)) in table.iter().enumerate() {
        let (_, text, stored) = table[(at + 1) % table.len()];
        world.patch(name, json!({"spec": {"description": text}})).await;
        world.ready(name).await;
        world.request_reconcile(name).await;
        let description = world.row(name).description.unwrap_or_default();
        assert!(description.starts_with(stored), "{name}: {description}");
    }
    // Two of them are stored as another one before them is.
    let changed = (0..table.len()).filter(|at| table[*at].2 != table[(at + 1) % table.len()].2).count();
    assert_eq!(world.kms.writes(), table.len() + changed);
}
