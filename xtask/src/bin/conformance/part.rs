//! A store or a transport that was chosen at run time, where the facade asks for one by its type.

use async_trait::async_trait;
use rave_level::{
    LockAttempt, Opener, Result,
    transport::{Connect, Listener, Transport},
};
use std::sync::Arc;

/// A shared part.
#[derive(Debug)]
pub struct Part<T: ?Sized>(pub Arc<T>);

impl<T: ?Sized> Clone for Part<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

#[async_trait]
impl Opener for Part<dyn Opener> {
    async fn try_lock(&self) -> Result<LockAttempt> {
        self.0.try_lock().await
    }

    fn location(&self) -> String {
        self.0.location()
    }
}

#[async_trait]
impl Transport for Part<dyn Transport> {
    async fn connect(&self) -> Result<Connect> {
        self.0.connect().await
    }

    async fn listen(&self) -> Result<Box<dyn Listener>> {
        self.0.listen().await
    }

    fn address(&self) -> String {
        self.0.address()
    }
}
