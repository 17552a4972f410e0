//! Disks that fill up or fail, processes that are killed, and files that are damaged.

use rave_core::{AbstractLevel, AbstractLevelExt, Batch, Code, Effect, IteratorOptions, KeyRange, WriteOptions};
use rave_leveldb::{Compression, Faults, LevelDb, Options};
use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
};

type Db = Arc<dyn AbstractLevel>;

fn small(faults: Option<Arc<Faults>>) -> Options {
    Options {
        write_buffer_size: 700,
        block_size: 64,
        compression: Compression::None,
        cache_bytes: 0,
        faults,
        ..Options::default()
    }
}

async fn contents(db: &Db) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let forward = db.all(KeyRange::all()).await.unwrap();
    let mut reverse = db.all(IteratorOptions::default().reversed()).await.unwrap();
    reverse.reverse();
    assert_eq!(forward, reverse);
    forward.into_iter().map(|entry| (entry.key.to_vec(), entry.value.to_vec())).collect()
}

/// Writes until the storage fails as `fail` arranges, and checks what the failure left.
async fn write_until_failure(case: &str, fail: impl FnOnce(&Faults)) {
    let directory = tempfile::tempdir().unwrap();
    let faults = Faults::without_sync();
    let db = LevelDb::with_options(directory.path(), small(Some(faults.clone()))).open().await.unwrap();
    for i in 0..20 {
        db.put(format!("key {:02}", i % 7), format!("before {i}")).await.unwrap();
    }
    let mut acknowledged = contents(&db).await;
    fail(&faults);
    let mut uncertain = None;
    let mut failed = false;
    for i in 0..500 {
        let (key, value) = (format!("key {:02}", i % 23), format!("value {i}"));
        match db.write_opts(Batch::new().put(&key, &value), WriteOptions { sync: i % 5 == 0 }).await {
            Ok(()) => {
                acknowledged.insert(key.into(), value.into());
            }
            Err(error) => {
                assert_eq!(error.code(), Code::Io, "{case}: {error}");
                if error.effect() == Effect::Unknown {
                    uncertain = Some((key.into_bytes(), value.into_bytes()));
                }
                failed = true;
                break;
            }
        }
    }
    assert!(failed, "{case}: the storage did not fail");
    for _ in 0..3 {
        let error = db.put("later", "x").await.unwrap_err();
        assert_eq!((error.code(), error.effect()), (Code::Io, Effect::None), "{case}");
        let error = db.clear(KeyRange::all()).await.unwrap_err();
        assert_eq!((error.code(), error.effect()), (Code::Io, Effect::None), "{case}");
    }
    let mut possible = acknowledged.clone();
    possible.extend(uncertain.clone());
    let found = contents(&db).await;
    assert!(found == acknowledged || found == possible, "{case}: reading after the failure");
    assert_eq!(db.get("key 01").await.unwrap().as_deref(), found.get(&b"key 01"[..]).map(Vec::as_slice));
    db.close().await.unwrap();

    let db = LevelDb::with_options(directory.path(), small(None)).open().await.unwrap();
    let found = contents(&db).await;
    assert!(found == acknowledged || found == possible, "{case}: after opening again");
    db.put("later", "x").await.unwrap();
}

#[tokio::test]
async fn a_full_disk_loses_nothing_acknowledged() {
    for space in (0..6000).step_by(83) {
        write_until_failure(&format!("full after {space}"), |faults| faults.full_after(space)).await;
    }
}

#[tokio::test]
async fn a_single_failed_write_loses_nothing_acknowledged() {
    // Everything but the one write would succeed. The steps are small enough to meet the writing of `CURRENT`.
    for space in (0..2500).step_by(11) {
        write_until_failure(&format!("once after {space}"), |faults| faults.fail_once_after(space)).await;
    }
}

#[tokio::test]
async fn failing_renames_and_syncs_lose_nothing_acknowledged() {
    for count in 0..4 {
        write_until_failure(&format!("rename {count}"), |faults| faults.fail_renames_after(count)).await;
    }
    write_until_failure("sync", Faults::fail_sync).await;
}

#[tokio::test]
async fn a_full_disk_at_the_opening_is_an_error_and_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options { write_buffer_size: 1 << 20, ..small(None) };
    let db = LevelDb::with_options(directory.path(), options).open().await.unwrap();
    for i in 0..200 {
        db.put(format!("{i:03}"), "value").await.unwrap();
    }
    db.close().await.unwrap();
    // A torn tail, so that opening has to write.
    let log = newest(directory.path(), "log");
    fs::OpenOptions::new().append(true).open(log).unwrap().write_all(b"torn").unwrap();
    let mut opened = false;
    for space in (0..30_000).step_by(611) {
        let faults = Faults::without_sync();
        faults.full_after(space);
        match LevelDb::with_options(directory.path(), small(Some(faults))).open().await {
            Ok(db) => {
                assert_eq!(contents(&db).await.len(), 200);
                db.close().await.unwrap();
                opened = true;
                break;
            }
            Err(error) => assert_eq!(error.code(), Code::Io, "{error}"),
        }
    }
    assert!(opened);
    let db = LevelDb::new(directory.path()).open().await.unwrap();
    assert_eq!(contents(&db).await.len(), 200);
}

fn newest(directory: &Path, extension: &str) -> std::path::PathBuf {
    let paths = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    paths.filter(|path| path.extension().is_some_and(|found| found == extension)).max().unwrap()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}

#[tokio::test]
async fn damage_anywhere_gives_an_error_and_never_a_wrong_answer() {
    let directory = tempfile::tempdir().unwrap();
    let origin = directory.path().join("origin");
    let db = LevelDb::with_options(&origin, small(Some(Faults::without_sync()))).open().await.unwrap();
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
            // A log is cut at the damage; that is promised, and tested elsewhere.
            continue;
        }
        for round in 0..25 {
            let path = directory.path().join(format!("{name}-{round}"));
            copy(&origin, &path);
            let mut damaged = data.clone();
            let place = random.usize(0..data.len());
            damaged[place] ^= 1 << random.u8(0..8);
            fs::write(path.join(&name), damaged).unwrap();
            let db = match LevelDb::with_options(&path, small(Some(Faults::without_sync()))).open().await {
                Ok(db) => db,
                Err(error) => {
                    assert_eq!(error.code(), Code::Corruption, "{name} {place}: {error}");
                    assert!(error.to_string().contains(&name) || name.starts_with("CURRENT"), "{name}: {error}");
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
    assert!(refused > 10 && failed > 10, "{refused} refused, {failed} failed");
}

const CHILD: &str = "RAVE_LEVELDB_TEST_CHILD";

/// Not a test by itself: the process that [`acknowledged_writes_survive_sigkill`] kills.
#[test]
fn child() {
    let Ok(path) = std::env::var(CHILD) else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let options = Options { write_buffer_size: 2000, ..Options::default() };
        let db = LevelDb::with_options(path, options).open().await.unwrap();
        let start = contents(&db).await.len();
        for i in start.. {
            let options = WriteOptions { sync: i % 50 == 0 };
            db.write_opts(Batch::new().put(format!("{i:08}"), "value"), options).await.unwrap();
            println!("acknowledged {i:08}");
        }
    });
}

#[tokio::test]
async fn acknowledged_writes_survive_sigkill() {
    let directory = tempfile::tempdir().unwrap();
    let mut last = None;
    for round in 0..6 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--nocapture"])
            .env(CHILD, directory.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        for _ in 0..100 + round * 37 {
            let line = lines.next().expect("the child goes on").unwrap();
            last = line.split_once("acknowledged ").map(|(_, key)| key.to_owned()).or(last);
        }
        child.kill().unwrap();
        for line in lines {
            last = line.unwrap().split_once("acknowledged ").map(|(_, key)| key.to_owned()).or(last);
        }
        child.wait().unwrap();
        let db = LevelDb::new(directory.path()).open().await.unwrap();
        let found = contents(&db).await;
        let last: usize = last.as_ref().unwrap()[..8].parse().unwrap();
        assert!(found.len() > last, "{} keys, but {last} was acknowledged", found.len());
        assert!(found.keys().enumerate().all(|(i, key)| *key == format!("{i:08}").into_bytes()));
        db.close().await.unwrap();
    }
}
