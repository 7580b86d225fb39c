package sigv4

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// payloadHash returns the hash of the body for the canonical request. A declared hash must be the true one; payloads that are
// not signed, or are signed in chunks, are refused.
func payloadHash(r *http.Request, body []byte) (string, error) {
	sum := sha256.Sum256(body)
	hash := hex.EncodeToString(sum[:])
	if d := r.Header["X-Amz-Content-Sha256"]; len(d) > 0 && d[0] != hash {
		if !hexHash.MatchString(d[0]) {
			return "", refuse(Mismatch, "X-Amz-Content-Sha256 must be the SHA-256 of the body in hexadecimal; '%.64s' is not supported.", d[0])
		}
		return "", refuse(Mismatch, "The provided 'x-amz-content-sha256' header does not match what was computed.")
	}
	return hash, nil
}

// canonical returns the canonical request.
func (c *Claim) canonical(r *http.Request, hash string) (string, error) {
	var b strings.Builder
	b.WriteString(r.Method)
	b.WriteByte('\n')
	b.WriteString(canonicalPath(RawPath(r.RequestURI)))
	b.WriteByte('\n')
	b.WriteString(c.canonicalQuery())
	b.WriteByte('\n')
	for _, name := range c.signed {
		values, err := headerValues(r, name)
		if err != nil {
			return "", err
		}
		b.WriteString(name)
		b.WriteByte(':')
		for i, v := range values {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString(squeeze(v))
		}
		b.WriteByte('\n')
	}
	b.WriteByte('\n')
	b.WriteString(strings.Join(c.signed, ";"))
	b.WriteByte('\n')
	b.WriteString(hash)
	return b.String(), nil
}

// headerValues finds a signed header, also those that net/http moves out of the header map.
func headerValues(r *http.Request, name string) ([]string, error) {
	switch name {
	case "host":
		return []string{r.Host}, nil
	case "content-length":
		if r.ContentLength >= 0 {
			return []string{strconv.FormatInt(r.ContentLength, 10)}, nil
		}
	case "transfer-encoding":
		if len(r.TransferEncoding) > 0 {
			return r.TransferEncoding, nil
		}
	}
	if v := r.Header[http.CanonicalHeaderKey(name)]; len(v) > 0 {
		return v, nil
	}
	return nil, refuse(Incomplete, "The signed header '%.64s' is not in the request.", name)
}

// squeeze trims a header value and makes runs of spaces one space.
func squeeze(v string) string {
	v = strings.Trim(v, " \t")
	for strings.Contains(v, "  ") {
		v = strings.ReplaceAll(v, "  ", " ")
	}
	return v
}

// RawPath returns the path of a request line's target as it was sent, without the query. It also understands the absolute form that proxies
// are sent.
func RawPath(requestURI string) string {
	path, _, _ := strings.Cut(requestURI, "?")
	if rest, ok := strings.CutPrefix(path, "http://"); ok {
		path = rest
	} else if rest, ok := strings.CutPrefix(path, "https://"); ok {
		path = rest
	} else {
		return path
	}
	if i := strings.IndexByte(path, '/'); i >= 0 {
		return path[i:]
	}
	return "/"
}

// canonicalPath normalizes a raw path and percent-encodes it once more.
func canonicalPath(raw string) string {
	if strings.Contains(raw, "//") || strings.Contains(raw, "/.") {
		raw = normalize(raw)
	}
	if raw == "" {
		return "/"
	}
	return escape(raw, "/")
}

// normalize removes empty and dot segments. A trailing slash stays.
func normalize(raw string) string {
	var out []string
	segments := strings.Split(raw, "/")
	for _, s := range segments {
		switch s {
		case "", ".":
		case "..":
			if len(out) > 0 {
				out = out[:len(out)-1]
			}
		default:
			out = append(out, s)
		}
	}
	p := "/" + strings.Join(out, "/")
	if last := segments[len(segments)-1]; len(out) > 0 && (last == "" || last == "." || last == "..") {
		p += "/"
	}
	return p
}

// escape percent-encodes all bytes but letters, digits, -_.~ and those in more.
func escape(s, more string) string {
	plain := func(c byte) bool {
		return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.' || c == '~' || strings.IndexByte(more, c) >= 0
	}
	n := 0
	for i := range len(s) {
		if !plain(s[i]) {
			n++
		}
	}
	if n == 0 {
		return s
	}
	const hex = "0123456789ABCDEF"
	b := make([]byte, 0, len(s)+2*n)
	for i := range len(s) {
		if c := s[i]; plain(c) {
			b = append(b, c)
		} else {
			b = append(b, '%', hex[c>>4], hex[c&15])
		}
	}
	return string(b)
}

// canonicalQuery sorts the raw parameters by name and value, and leaves out the signature of a presigned request. What is
// percent-encoded is taken as it was sent; what should have been is encoded. Nothing is decoded first, and '+' stays: it means a
// space to some and itself to others, and must not be exchangeable for either.
func (c *Claim) canonicalQuery() string {
	if c.query == "" {
		return ""
	}
	type kv struct{ k, v string }
	var all []kv
	for part := range strings.SplitSeq(c.query, "&") {
		if part == "" {
			continue
		}
		k, v, _ := strings.Cut(part, "=")
		if c.presigned && k == "X-Amz-Signature" {
			continue
		}
		all = append(all, kv{escape(k, "%+"), escape(v, "%+")})
	}
	slices.SortFunc(all, func(a, b kv) int {
		if n := strings.Compare(a.k, b.k); n != 0 {
			return n
		}
		return strings.Compare(a.v, b.v)
	})
	var b strings.Builder
	for i, p := range all {
		if i > 0 {
			b.WriteByte('&')
		}
		b.WriteString(p.k)
		b.WriteByte('=')
		b.WriteString(p.v)
	}
	return b.String()
}
