//! JSON strings: finding their end, decoding escapes, and the one canonical way to write them.
//! <https://spec.matrix.org/v1.19/appendices/#grammar>

use std::borrow::Cow;

/// The length of the string literal that `json` begins with, both quotes included. `None` if it doesn't end.
pub(crate) fn literal_len(json: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        at += plain_len(json.get(at..)?);
        match json.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// How many bytes from the start on stand for themselves in a string (see [`needs_escape`]). Eight at a time: most of
/// an event is strings.
pub(crate) fn plain_len(bytes: &[u8]) -> usize {
    let (chunks, _) = bytes.as_chunks::<8>();
    let first = chunks.iter().map(|chunk| escape_flags(*chunk));
    for (index, flags) in first.enumerate() {
        if flags != 0 {
            return index * 8 + flags.trailing_zeros() as usize / 8;
        }
    }
    let whole = chunks.len() * 8;
    let rest = bytes.get(whole..).unwrap_or_default();
    let end = rest.iter().position(|&byte| needs_escape(byte));
    whole + end.unwrap_or(rest.len())
}

/// The highest bit of the first byte that needs an escape is set, and none below it; the bytes above it may be wrong.
fn escape_flags(chunk: [u8; 8]) -> u64 {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const HIGHEST: u64 = ONES << 7;
    let below = |bytes: u64, limit: u64| bytes.wrapping_sub(ONES * limit) & !bytes;
    let bytes = u64::from_le_bytes(chunk);
    let quote = below(bytes ^ (ONES * u64::from(b'"')), 1);
    let backslash = below(bytes ^ (ONES * u64::from(b'\\')), 1);
    (quote | backslash | below(bytes, 0x20)) & HIGHEST
}

/// The text of a literal's inside (without its quotes). `None` if an escape is none of JSON's, or a surrogate is alone.
pub(crate) fn unescape(inside: &str) -> Option<Cow<'_, str>> {
    let Some((mut plain, mut rest)) = inside.split_once('\\') else {
        return Some(Cow::Borrowed(inside));
    };
    let mut text = String::with_capacity(inside.len());
    loop {
        text.push_str(plain);
        let (character, after) = unescape_one(rest)?;
        text.push(character);
        let Some(next) = after.split_once('\\') else {
            text.push_str(after);
            return Some(Cow::Owned(text));
        };
        (plain, rest) = next;
    }
}

/// The character that the escape in front of `rest` (its backslash already taken) stands for, and what follows it.
fn unescape_one(rest: &str) -> Option<(char, &str)> {
    let (letter, after) = rest.split_at_checked(1)?;
    let character = match letter {
        "\"" => '"',
        "\\" => '\\',
        "/" => '/',
        "b" => '\u{8}',
        "f" => '\u{c}',
        "n" => '\n',
        "r" => '\r',
        "t" => '\t',
        "u" => return unescape_unicode(after),
        _ => return None,
    };
    Some((character, after))
}

fn unescape_unicode(rest: &str) -> Option<(char, &str)> {
    let (high, after) = hex_unit(rest)?;
    if let Some(character) = char::from_u32(high) {
        return Some((character, after));
    }
    let (low, after) = hex_unit(after.strip_prefix("\\u")?)?;
    if !(0xD800..0xDC00).contains(&high) || !(0xDC00..0xE000).contains(&low) {
        return None;
    }
    let character = char::from_u32(0x1_0000 + ((high - 0xD800) << 10) + (low - 0xDC00))?;
    Some((character, after))
}

fn hex_unit(rest: &str) -> Option<(u32, &str)> {
    let (digits, after) = rest.split_at_checked(4)?;
    // `from_str_radix` alone would take a sign.
    if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    Some((u32::from_str_radix(digits, 16).ok()?, after))
}

/// Writes `text` as a canonical literal: quotes, and escapes only where they are needed.
pub(crate) fn write(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    write_escaped(out, text);
    out.push(b'"');
}

/// Writes the inside of `text`'s canonical literal.
pub(crate) fn write_escaped(out: &mut Vec<u8>, text: &str) {
    const HEX: [u8; 16] = *b"0123456789abcdef";
    let mut rest = text.as_bytes();
    loop {
        let Some((plain, from_escape)) = rest.split_at_checked(plain_len(rest)) else {
            return;
        };
        out.extend_from_slice(plain);
        let Some((&escaped, after)) = from_escape.split_first() else {
            return;
        };
        rest = after;
        match escaped {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', escaped]),
            0x08 => out.extend_from_slice(b"\\b"),
            b'\t' => out.extend_from_slice(b"\\t"),
            b'\n' => out.extend_from_slice(b"\\n"),
            0x0C => out.extend_from_slice(b"\\f"),
            b'\r' => out.extend_from_slice(b"\\r"),
            control => {
                out.extend_from_slice(b"\\u00");
                let digits = [control >> 4, control & 0xF].map(|digit| HEX.get(usize::from(digit)));
                out.extend(digits.into_iter().flatten());
            }
        }
    }
}

/// Whether the byte can't stand for itself in a JSON string.
pub(crate) fn needs_escape(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}
