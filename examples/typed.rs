//! Typed values and sublevels: users as JSON under one prefix, an index of them under another, both changed in one
//! atomic batch.
//!
//! ```text
//! cargo run --example typed -- ./my-db
//! ```

use rave_level::{
    AbstractLevel, AbstractLevelExt, Batch, RaveLevel, Result,
    encoding::{Encoding, Json, Utf8},
};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct User {
    name: String,
    city: String,
}

fn user(name: &str, city: &str) -> User {
    User { name: name.into(), city: city.into() }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let path = std::env::args().nth(1).unwrap_or_else(|| "./my-db".into());
    let db = RaveLevel::open(&path).await?;

    // A sublevel is a database of its own under a prefix; here `!users!` and `!cities!`.
    let users = db.sublevel("users")?;
    let cities = db.sublevel("cities")?;

    // The same sublevel, seen with typed keys and values.
    let typed = users.typed(Utf8, Json::<User>::new());
    typed.put("ada", &user("Ada", "London")).await?;
    typed.batch().put("alan", &user("Alan", "Wilmslow")).put("grace", &user("Grace", "New York")).write().await?;

    // One batch may write into several sublevels: all of it is applied, or nothing.
    let moved = user("Alan", "Manchester");
    let batch = Batch::new().put_in(&users, "alan", Json::<User>::new().encode_value(&moved)?).put_in(
        &cities,
        "Manchester",
        "alan",
    );
    db.write(batch).await?;

    assert_eq!(typed.get("alan").await?, Some(moved));
    for (key, user) in typed.all(typed.range().gte("alan").limited(10)).await? {
        println!("{key}: {} lives in {}", user.name, user.city);
    }

    // In the database itself the prefix shows.
    assert_eq!(db.get("!cities!Manchester").await?.as_deref(), Some(&b"alan"[..]));
    db.close().await
}
