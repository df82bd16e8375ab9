//! Hugging Face's tokenizers for Go: see tokenizers.h for what each function
//! promises. The file's own truncation and padding are switched off, and the
//! special tokens around a text are found once, by a text of one token.

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::Once;
use tokenizers::{Encoding, PostProcessor, Token, Tokenizer};

pub struct Handle {
    tokenizer: Tokenizer,
    before: Vec<u32>,
    after: Vec<u32>,
    size: i64,
}

fn load(json: &[u8]) -> Result<Handle, String> {
    let mut tokenizer = Tokenizer::from_bytes(json).map_err(|e| e.to_string())?;
    tokenizer.with_truncation(None).map_err(|e| e.to_string())?;
    tokenizer.with_padding(None);
    let text = Encoding::from_tokens(vec![Token::new(u32::MAX, String::new(), (0, 0))], 0);
    let around = match tokenizer.get_post_processor() {
        Some(processor) => processor.process(text, None, true).map_err(|e| e.to_string())?,
        None => text,
    };
    tokenizer.with_post_processor(None::<tokenizers::PostProcessorWrapper>);
    if around.get_type_ids().iter().any(|&t| t != 0) {
        return Err("post_processor with type ids other than 0 is not supported".into());
    }
    let parts: Vec<_> = around.get_ids().split(|&id| id == u32::MAX).collect();
    let [before, after] = parts[..] else {
        return Err(format!("post_processor with the text in it {} times is not supported", parts.len() - 1));
    };
    let vocab = tokenizer.get_vocab(true);
    let size = vocab.values().chain(before).chain(after).max().map_or(0, |&id| id as i64 + 1);
    Ok(Handle { before: before.to_vec(), after: after.to_vec(), size, tokenizer })
}

impl Handle {
    fn encode(&self, text: &[u8], max: usize, out: &mut [i64]) -> Option<i64> {
        let text = std::str::from_utf8(text).ok()?;
        let encoding = self.tokenizer.encode_fast(text, false).ok()?;
        let (ids, special) = (encoding.get_ids(), self.before.len() + self.after.len());
        let room = if max == 0 { ids.len() } else { ids.len().min(max.saturating_sub(special)) };
        if room + special <= out.len() {
            let all = self.before.iter().chain(&ids[..room]).chain(&self.after);
            out.iter_mut().zip(all).for_each(|(to, &id)| *to = id as i64);
        }
        Some((ids.len() + special) as i64)
    }
}

/// A panic's message may quote the text, so only its place is printed.
fn quiet() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        std::panic::set_hook(Box::new(|info| match info.location() {
            Some(at) => eprintln!("tokenizers panicked at {}:{}", at.file(), at.line()),
            None => eprintln!("tokenizers panicked"),
        }))
    });
}

/// # Safety
/// ptr is readable for len bytes, unless len is 0.
unsafe fn bytes<'a>(ptr: *const u8, len: usize) -> &'a [u8] {
    if len == 0 { &[] } else { std::slice::from_raw_parts(ptr, len) }
}

#[no_mangle]
pub extern "C" fn ct_version() -> *const u8 {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr()
}

#[no_mangle]
pub unsafe extern "C" fn ct_new(json: *const u8, len: usize, message: *mut u8, cap: usize, written: *mut usize) -> *mut Handle {
    quiet();
    let why = match catch_unwind(|| load(bytes(json, len))) {
        Ok(Ok(handle)) => return Box::into_raw(Box::new(handle)),
        Ok(Err(why)) => why,
        Err(_) => "tokenizers panicked: a value in the file is broken".into(),
    };
    *written = (0..=why.len().min(cap)).rev().find(|&n| why.is_char_boundary(n)).unwrap_or(0);
    std::ptr::copy_nonoverlapping(why.as_ptr(), message, *written);
    std::ptr::null_mut()
}

#[no_mangle]
pub unsafe extern "C" fn ct_free(handle: *mut Handle) {
    let _ = catch_unwind(|| drop(Box::from_raw(handle)));
}

#[no_mangle]
pub unsafe extern "C" fn ct_size(handle: *const Handle) -> i64 {
    (*handle).size
}

#[no_mangle]
pub unsafe extern "C" fn ct_id(handle: *const Handle, token: *const u8, len: usize) -> i64 {
    let find = || (*handle).tokenizer.token_to_id(std::str::from_utf8(bytes(token, len)).ok()?);
    catch_unwind(AssertUnwindSafe(find)).ok().flatten().map_or(-1, |id| id as i64)
}

#[no_mangle]
pub unsafe extern "C" fn ct_encode(handle: *const Handle, text: *const u8, len: usize, max: usize, ids: *mut i64, cap: usize) -> i64 {
    let out = if cap == 0 { &mut [] } else { std::slice::from_raw_parts_mut(ids, cap) };
    let encode = AssertUnwindSafe(|| (*handle).encode(bytes(text, len), max, out));
    catch_unwind(encode).ok().flatten().unwrap_or(-1)
}
