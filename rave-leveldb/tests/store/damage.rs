//! Damaged files: right answers or errors, never wrong answers.

use super::{contents, copy, files, small};
use crate::{LevelDb, hasty};
use rave_core::{AbstractLevelExt, Code, KeyRange};
use rave_leveldb::Options;
use std::fs;

#[tokio::test]
async fn damage_anywhere_gives_an_error_and_never_a_wrong_answer() {
    let directory = tempfile::tempdir().unwrap();
    let origin = directory.path().join("origin");
    let db = hasty(&origin, small()).open().await.unwrap();
    for i in 0..60 {
        db.put(format!("key {:02}", i % 40), format!("{i:030}")).await.unwrap();
    }
    let expected = contents(&db).await;
    db.close().await.unwrap();
    let mut random = fastrand::Rng::with_seed(3);
    let (mut refused, mut failed) = (0, 0);
    let files: Vec<_> = fs::read_dir(&origin).unwrap().map(|entry| entry.unwrap().path()).collect();
    for file in files {
        let name = file.file_name().unwrap().to_str().unwrap().to_owned();
        let data = fs::read(&file).unwrap();
        if data.is_empty() || name.ends_with(".log") {
            continue;
        }
        for round in 0..25 {
            let path = directory.path().join(format!("{name}-{round}"));
            copy(&origin, &path);
            let mut damaged = data.clone();
            let place = random.usize(0..data.len());
            damaged[place] ^= 1 << random.u8(0..8);
            fs::write(path.join(&name), damaged).unwrap();
            let db = match hasty(&path, small()).open().await {
                Ok(db) => db,
                Err(error) => {
                    assert_eq!(error.code(), Code::Corruption, "{name} {place}: {error}");
                    // What was damaged in `CURRENT` or a manifest may show in what it names.
                    let indirect = name.starts_with("CURRENT") || name.starts_with("MANIFEST");
                    assert!(error.to_string().contains(&name) || indirect, "{name}: {error}");
                    refused += 1;
                    continue;
                }
            };
            for (key, value) in &expected {
                match db.get(key).await {
                    Ok(found) => assert_eq!(found.as_deref(), Some(value.as_slice()), "{name} {place}"),
                    Err(error) => {
                        assert_eq!(error.code(), Code::Corruption, "{error}");
                        assert!(error.to_string().contains(&name), "{error}");
                        failed += 1;
                    }
                }
            }
            match db.all(KeyRange::all()).await {
                Ok(all) => assert_eq!(all.len(), expected.len(), "{name} {place}"),
                Err(error) => assert_eq!(error.code(), Code::Corruption),
            }
            db.close().await.unwrap();
        }
    }
    assert!(refused + failed > 20, "{refused} refused, {failed} failed");
}

#[tokio::test]
async fn of_a_damaged_log_the_writes_before_the_damage_are_kept_or_it_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let origin = directory.path().join("origin");
    let db = LevelDb::new(&origin).open().await.unwrap();
    for i in 0..100 {
        db.put(format!("{i:03}"), "v".repeat(i)).await.unwrap();
    }
    db.close().await.unwrap();
    let log = files(&origin, "log").pop().unwrap();
    let data = fs::read(&log).unwrap();
    let mut random = fastrand::Rng::with_seed(5);
    for round in 0..60 {
        let path = directory.path().join(round.to_string());
        copy(&origin, &path);
        let mut damaged = data.clone();
        let place = random.usize(0..data.len());
        damaged[place] ^= 1 << random.u8(0..8);
        fs::write(path.join(log.file_name().unwrap()), damaged).unwrap();
        match hasty(&path, Options::default()).open().await {
            Ok(db) => {
                let found = contents(&db).await;
                assert!(found.len() < 100, "the damage at {place} went unnoticed");
                for (i, (key, value)) in found.iter().enumerate() {
                    assert_eq!((key, value.len()), (&format!("{i:03}").into_bytes(), i), "damage at {place}");
                }
                db.close().await.unwrap();
            }
            Err(error) => {
                assert_eq!(error.code(), Code::Corruption, "{error}");
                assert!(error.to_string().contains(log.file_name().unwrap().to_str().unwrap()), "{error}");
            }
        }
    }
}
