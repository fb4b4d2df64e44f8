//! What in manifests is probably not meant.
