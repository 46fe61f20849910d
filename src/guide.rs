//! Guides: longer documentation, as pages. They contain no items.

#![expect(clippy::doc_markdown, reason = "names of other projects are prose")]

#[doc = include_str!("../docs/decisions.md")]
pub mod decisions {}

// The page links to files, for readers of the repository; of two definitions of a link, the first counts.
#[doc = "[layers]: recipes::layers\n[opentelemetry]: recipes::opentelemetry"]
#[doc = "[clients]: recipes::clients\n[scoping]: recipes::scoping\n"]
#[doc = include_str!("../docs/recipes.md")]
pub mod recipes {
    #[doc = include_str!("../docs/recipes/layers.md")]
    pub mod layers {}
    #[doc = include_str!("../docs/recipes/opentelemetry.md")]
    pub mod opentelemetry {}
    #[doc = include_str!("../docs/recipes/clients.md")]
    pub mod clients {}
    #[doc = include_str!("../docs/recipes/scoping.md")]
    pub mod scoping {}
}

#[doc = include_str!("../docs/security.md")]
pub mod security {}

#[doc = include_str!("../docs/comparison.md")]
pub mod comparison {}

#[doc = include_str!("../docs/performance.md")]
#[doc = include_str!("../docs/cost.svg")]
pub mod performance {}
