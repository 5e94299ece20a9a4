//! Lines of a stream, bounded: one that is too long is skipped, not kept.

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};

/// What a buffer keeps between two lines.
const KEPT: usize = 64 * 1024;

#[derive(Debug)]
pub(crate) struct Lines<R> {
    stream: BufReader<R>,
    line: Vec<u8>,
    most: usize,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line<'a> {
    Text(&'a str),
    /// Longer than the bound; so many bytes were skipped.
    TooLong(usize),
    NotUtf8,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    pub(crate) fn new(stream: R, most: usize) -> Self {
        Self { stream: BufReader::with_capacity(8 * 1024, stream), line: Vec::new(), most }
    }

    /// The next line, without its end; a last one may lack it. None at the end of the stream.
    pub(crate) async fn next(&mut self) -> std::io::Result<Option<Line<'_>>> {
        self.line.clear();
        self.line.shrink_to(KEPT);
        let mut bytes = 0;
        loop {
            let block = self.stream.fill_buf().await?;
            if block.is_empty() {
                if bytes == 0 {
                    return Ok(None);
                }
                break;
            }
            let end = block.iter().position(|b| *b == b'\n');
            let part = &block[..end.unwrap_or(block.len())];
            bytes += part.len();
            if bytes <= self.most {
                self.line.extend_from_slice(part);
            }
            let used = end.map_or(block.len(), |at| at + 1);
            self.stream.consume(used);
            if end.is_some() {
                break;
            }
        }
        if bytes > self.most {
            return Ok(Some(Line::TooLong(bytes)));
        }
        if self.line.last() == Some(&b'\r') {
            self.line.pop();
        }
        Ok(Some(std::str::from_utf8(&self.line).map_or(Line::NotUtf8, Line::Text)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_are_read_and_long_ones_are_skipped() {
        let text = [b"one\r\n\nlonger than ten\ntwo\n\xff\n".as_slice(), b"last"].concat();
        let mut lines = Lines::new(text.as_slice(), 10);
        assert_eq!(lines.next().await.unwrap(), Some(Line::Text("one")));
        assert_eq!(lines.next().await.unwrap(), Some(Line::Text("")));
        assert_eq!(lines.next().await.unwrap(), Some(Line::TooLong(15)));
        assert_eq!(lines.next().await.unwrap(), Some(Line::Text("two")));
        assert_eq!(lines.next().await.unwrap(), Some(Line::NotUtf8));
        assert_eq!(lines.next().await.unwrap(), Some(Line::Text("last")));
        assert_eq!(lines.next().await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_line_without_end_takes_no_memory() {
        let text = vec![b'x'; 3 * 1024 * 1024];
        let mut lines = Lines::new(text.as_slice(), 1024);
        assert_eq!(lines.next().await.unwrap(), Some(Line::TooLong(text.len())));
        assert!(lines.line.capacity() <= KEPT);
    }
}
