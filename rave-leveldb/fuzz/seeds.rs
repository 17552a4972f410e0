//! Writes the seeds: a few small files of each kind, and directories of them.

#[allow(dead_code)]
mod files;

use rave_core::{AbstractLevel, AbstractLevelExt, Batch};
use rave_leveldb::{Compression, LevelDb, Options, testing::SimulatedDisk};
use std::{fs, path::Path};

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds");
    for (number, compression) in [Compression::None, Compression::Snappy].into_iter().enumerate() {
        for entries in [1, 12, 120] {
            let disk = runtime.block_on(database(entries, compression));
            write(&seeds, &format!("{number}-{entries}"), &disk);
        }
    }
    // A log with a record in two blocks.
    let disk = SimulatedDisk::new();
    runtime.block_on(async {
        let options = Options { disk: Some(disk.clone()), ..Options::default() };
        let directory = tempfile::tempdir().unwrap();
        let db = LevelDb::with_options(directory.path(), options).open().await.unwrap();
        db.put("long", vec![b'x'; 33 << 10]).await.unwrap();
        db.put("short", "").await.unwrap();
        db.close().await.unwrap();
    });
    write(&seeds, "long", &disk);
}

/// A database with tables of one level or two, and a log that holds more than nothing.
async fn database(entries: usize, compression: Compression) -> SimulatedDisk {
    let disk = SimulatedDisk::new();
    let options = Options { compression, block_size: 256, disk: Some(disk.clone()), ..Options::default() };
    let directory = tempfile::tempdir().unwrap();
    let database = LevelDb::with_options(directory.path(), options);
    let db = database.open_store().await.unwrap();
    for round in 0..2 {
        for number in 0..entries {
            db.put(format!("key {number:03}"), format!("value {round} of {number}")).await.unwrap();
        }
        db.del("key 000").await.unwrap();
        db.compact_range(rave_core::KeyRange::all()).await.unwrap();
    }
    db.write(Batch::new().put("a", "1").del("key 001").put("", vec![b'x'; 40])).await.unwrap();
    db.close().await.unwrap();
    disk
}

fn write(seeds: &Path, seed: &str, disk: &SimulatedDisk) {
    let mut directory = Vec::new();
    for name in disk.files() {
        let content = disk.read(&name).unwrap();
        let Some(which) = files::NAMES.iter().position(|known| *known == name) else { continue };
        let target = match which {
            0 => None,
            1 | 2 => Some("manifest"),
            3 | 4 => Some("log"),
            _ => Some("table"),
        };
        println!("{seed}: {name}, {} bytes", content.len());
        if let Some(target) = target {
            save(seeds, target, &format!("{seed}-{name}"), &[&[1], &content[..]].concat());
        }
        directory.push(which as u8 | files::MENDS);
        directory.extend((content.len() as u16).to_le_bytes());
        directory.extend(&content);
    }
    save(seeds, "open", seed, &directory);
}

fn save(seeds: &Path, target: &str, name: &str, content: &[u8]) {
    let directory = seeds.join(target);
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join(name), content).unwrap();
}
