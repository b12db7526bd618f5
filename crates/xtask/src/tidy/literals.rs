//! The string literals of a Rust source file.

/// A string literal, with what stands between its quotes as it is written.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Literal {
    /// Where it begins, from 1.
    pub(super) line: usize,
    pub(super) text: String,
}

/// All string literals; those in comments don't count.
pub(super) fn string_literals(source: &str) -> Vec<Literal> {
    let mut scanner = Scanner {
        chars: source.chars().collect(),
        at: 0,
        line: 1,
    };
    let mut literals = Vec::new();
    while let Some(current) = scanner.peek(0) {
        let line = scanner.line;
        let text = match (current, scanner.peek(1)) {
            ('/', Some('/')) => scanner.skip_line_comment(),
            ('/', Some('*')) => scanner.skip_block_comment(),
            ('\'', _) => scanner.skip_char_or_lifetime(),
            ('"', _) => scanner.string(),
            ('r', Some('"' | '#')) => scanner.raw_string(),
            _ => {
                scanner.step();
                None
            }
        };
        literals.extend(text.map(|text| Literal { line, text }));
    }
    literals
}

struct Scanner {
    chars: Vec<char>,
    at: usize,
    line: usize,
}

impl Scanner {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    fn step(&mut self) -> Option<char> {
        let current = self.peek(0)?;
        self.at += 1;
        self.line += usize::from(current == '\n');
        Some(current)
    }

    fn skip_line_comment(&mut self) -> Option<String> {
        while self.peek(0).is_some_and(|next| next != '\n') {
            self.step();
        }
        None
    }

    fn skip_block_comment(&mut self) -> Option<String> {
        let mut depth = 0_usize;
        loop {
            match (self.step()?, self.peek(0)) {
                ('/', Some('*')) => {
                    self.step();
                    depth += 1;
                }
                ('*', Some('/')) => {
                    self.step();
                    depth -= 1;
                }
                _ => {}
            }
            if depth == 0 {
                return None;
            }
        }
    }

    /// `'a'` and `'\n'` are characters, `'a` is a lifetime.
    fn skip_char_or_lifetime(&mut self) -> Option<String> {
        self.step();
        if self.peek(0) == Some('\\') {
            self.step();
            self.step();
            while self.step()? != '\'' {}
        } else if self.peek(1) == Some('\'') {
            self.step();
            self.step();
        }
        None
    }

    fn string(&mut self) -> Option<String> {
        self.step();
        let mut text = String::new();
        loop {
            match self.step()? {
                '"' => return Some(text),
                '\\' => {
                    text.push('\\');
                    text.push(self.step()?);
                }
                other => text.push(other),
            }
        }
    }

    /// `r"…"`, `r#"…"#`; not `r#name`.
    fn raw_string(&mut self) -> Option<String> {
        self.step();
        let mut hashes = 0;
        while self.peek(hashes) == Some('#') {
            hashes += 1;
        }
        if self.peek(hashes) != Some('"') {
            return None;
        }
        for _ in 0..=hashes {
            self.step();
        }
        let mut text = String::new();
        loop {
            let next = self.step()?;
            if next == '"' && (0..hashes).all(|ahead| self.peek(ahead) == Some('#')) {
                self.at += hashes;
                return Some(text);
            }
            text.push(next);
        }
    }
}
