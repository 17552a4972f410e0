//! A store of one's own for rave-level, on one append-only file: the code of `docs/custom-store.md`.
//!
//! | to … | look at |
//! | --- | --- |
//! | open it | [`AppendStore`] |
//! | see how a batch becomes bytes | `record.rs` |
//! | see what is read after a crash | `log.rs` |
//! | see what each operation does | `store.rs`, `view.rs` |

mod log;
mod opener;
mod record;
mod store;
mod view;

pub use opener::AppendStore;
