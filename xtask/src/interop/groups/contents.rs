//! What one language writes, the other one reads, alone and later.

use super::member::{Language, Leaving, Programs};
use anyhow::{Result, ensure};
use serde_json::json;
use std::{collections::BTreeMap, ops::Bound, path::Path};

/// Keys that are put at first.
const KEYS: usize = 500;

/// A leader and a guest write in every way there is and leave; then a process of the other language reads.
pub fn check(programs: &Programs, folder: &Path, writer: Language) -> Result<String> {
    let db = folder.join("db");
    let leader = programs.start(writer, &db)?;
    leader.wait_until_leader()?;
    let mut model = BTreeMap::new();
    for n in 0..KEYS {
        let (key, value) = (format!("k{n}"), "v".repeat(n * 7 % 400));
        leader.put(&key, &value)?;
        model.insert(key, value);
    }
    for (key, value) in [("", "of no byte"), ("ключ", "значение"), ("k7", "again"), ("k8", "")] {
        leader.put(key, value)?;
        model.insert(key.to_owned(), value.to_owned());
    }
    leader.put("large", &"x".repeat(300_000))?;
    model.insert("large".to_owned(), "x".repeat(300_000));
    for n in (0..KEYS).step_by(5) {
        leader.ask(json!({"op": "del", "key": format!("k{n}")}))?;
        model.remove(&format!("k{n}"));
    }
    let ops = json!([{"type": "del", "key": "k1"}, {"type": "put", "key": "k2", "value": "2"},
        {"type": "put", "key": "k2", "value": "3"}, {"type": "put", "key": "k3", "value": ""},
        {"type": "del", "key": "k3"}]);
    leader.ask(json!({"op": "batch", "ops": ops}))?;
    model.remove("k1");
    model.insert("k2".into(), "3".into());
    model.remove("k3");
    leader.ask(json!({"op": "clear", "gte": "k20", "lt": "k30"}))?;
    model.retain(|key, _| !("k20".."k30").contains(&key.as_str()));
    leader.ask(json!({"op": "clear", "gt": "k40", "lte": "k45", "reverse": true, "limit": 3}))?;
    let range = model.range::<str, _>((Bound::Excluded("k40"), Bound::Included("k45")));
    let cleared: Vec<_> = range.rev().take(3).map(|(key, _)| key.clone()).collect();
    model.retain(|key, _| !cleared.contains(key));
    // A sublevel, by a guest; `b` of the sublevel `a` is `!a!b`.
    let guest = programs.start_with(writer, &db, &["--sublevel", "a"])?;
    let mut sublevel = Vec::new();
    for (key, value) in [("b", "1"), ("c", "2")] {
        guest.put(key, value)?;
        model.insert(format!("!a!{key}"), value.to_owned());
        sublevel.push((key.to_owned(), value.to_owned()));
    }
    guest.leave(Leaving::Request)?;
    ensure!(programs.finish(&["verify"], &db).is_err(), "a command had the database for itself while {leader} leads");
    leader.leave(Leaving::Request)?;

    let expected: Vec<_> = model.into_iter().collect();
    let reader = programs.start(writer.other(), &db)?;
    reader.wait_until_leader()?;
    let found = reader.scan()?;
    ensure!(found == expected, "{} entries instead of {}, or others", found.len(), expected.len());
    let reverse = reader.scan_with(json!({"op": "scan", "reverse": true}))?;
    ensure!(reverse.iter().eq(expected.iter().rev()), "the scan in reverse differs");
    for (key, value) in &expected {
        ensure!(reader.get(key)?.as_ref() == Some(value), "{key} differs");
    }
    ensure!(reader.get("k1")?.is_none(), "k1 was deleted");
    let view = programs.start_with(writer.other(), &db, &["--sublevel", "a"])?;
    ensure!(view.scan()? == sublevel, "the sublevel differs");
    view.leave(Leaving::Request)?;
    reader.leave(Leaving::Request)?;
    Ok(format!("{} entries are the same", expected.len()))
}
