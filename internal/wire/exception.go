package wire

import (
	"bytes"
	"encoding/json"
	"net/http"
	"sort"
	"strings"

	"strongroom/internal/wire/sigv4"
)

// reply is a finished answer.
type reply struct {
	status int
	body   []byte
	kind   string // Content-Type, "" without a body
	error  string // the exception's name, "" on success
	text   string // the exception's message
}

// contentType is the type of a protocol's bodies.
func (p Protocol) contentType() string {
	switch p {
	case Query:
		return "text/xml"
	case JSON11:
		return "application/x-amz-json-1.1"
	}
	return "application/json"
}

// exceptionReply writes an exception in the protocol's form. namespace is that of a Query service.
//
// RestJSON clients take the name from the header x-amzn-ErrorType, which the dispatcher sets from reply.error; JSON11 clients take it
// from __type. The message is sent as both Message and message in JSON: models differ in the spelling (Organizations and AWS
// Backup the one, KMS the other) and clients ignore the one they do not know.
func exceptionReply(p Protocol, namespace, requestID string, e Exception) reply {
	if e.Status == 0 {
		e.Status = http.StatusBadRequest
	}
	out := reply{status: e.Status, kind: p.contentType(), error: e.Name, text: e.Message}
	names := make([]string, 0, len(e.Members))
	for k, v := range e.Members {
		if v != nil {
			names = append(names, k)
		}
	}
	sort.Strings(names)
	if p == Query {
		var b bytes.Buffer
		b.WriteString("<ErrorResponse")
		if namespace != "" { // unknown when the request does not say which service it is for
			b.WriteString(` xmlns="` + namespace + `"`)
		}
		b.WriteString("><Error>")
		fault := "Sender"
		if e.Status >= 500 {
			fault = "Receiver"
		}
		writeElement(&b, "Type", fault)
		writeElement(&b, "Code", e.Name)
		writeElement(&b, "Message", e.Message)
		for _, k := range names {
			if s, ok := e.Members[k].(string); ok {
				writeElement(&b, k, s)
			}
		}
		b.WriteString("</Error>")
		writeElement(&b, "RequestId", requestID)
		b.WriteString("</ErrorResponse>")
		out.body = b.Bytes()
		return out
	}
	b := []byte{'{'}
	if p == JSON11 {
		b = append(appendString(append(b, `"__type":`...), e.Name), ',')
	}
	b = appendString(append(b, `"Message":`...), e.Message)
	b = appendString(append(b, `,"message":`...), e.Message)
	for _, k := range names {
		if strings.EqualFold(k, "message") || k == "__type" {
			continue
		}
		v, err := json.Marshal(e.Members[k])
		if err != nil {
			continue // a member that cannot be written must not cost the client the exception
		}
		b = append(append(appendString(append(b, ','), k), ':'), v...)
	}
	out.body = append(b, '}')
	return out
}

// trouble is an error that the dispatcher itself finds.
type trouble int

const (
	noAuthentication trouble = iota
	unknownKey
	badSignature
	oldSignature
	unreadableSignature
	wrongScope
	expiredToken
	unknownOperation
	notImplemented
	unreadable // the request cannot be decoded
	tooLarge
	invalid // a constraint
)

// troubles names each trouble for JSON protocols and for Query, with the status of JSON11, RestJSON and Query. These are the
// names that AWS's front ends use before a service sees the request.
//
// notImplemented is an operation of the model that this server does not have. Its name and status 501 are ours: 501 is not retried
// by any SDK, and the message appears in the client's output.
var troubles = [...]struct {
	json, query                     string
	json11Status, rest, queryStatus int
}{
	noAuthentication:    {"MissingAuthenticationTokenException", "MissingAuthenticationToken", 400, 403, 403},
	unknownKey:          {"UnrecognizedClientException", "InvalidClientTokenId", 400, 403, 403},
	badSignature:        {"InvalidSignatureException", "SignatureDoesNotMatch", 400, 403, 403},
	oldSignature:        {"InvalidSignatureException", "SignatureDoesNotMatch", 400, 403, 403},
	unreadableSignature: {"IncompleteSignatureException", "IncompleteSignature", 400, 403, 400},
	wrongScope:          {"InvalidSignatureException", "SignatureDoesNotMatch", 400, 403, 403},
	expiredToken:        {"ExpiredTokenException", "ExpiredToken", 400, 403, 403},
	unknownOperation:    {"UnknownOperationException", "InvalidAction", 400, 404, 400},
	notImplemented:      {"UnsupportedOperationException", "UnsupportedOperation", 501, 501, 501},
	unreadable:          {"SerializationException", "ValidationError", 400, 400, 400},
	tooLarge:            {"RequestEntityTooLargeException", "RequestEntityTooLarge", 413, 413, 413},
	invalid:             {"ValidationException", "ValidationError", 400, 400, 400},
}

// exception makes the protocol's exception for a trouble.
func (t trouble) exception(p Protocol, message string) Exception {
	row := troubles[t]
	switch p {
	case Query:
		if t == noAuthentication {
			message = "Request is missing Authentication Token"
		}
		return Exception{Name: row.query, Status: row.queryStatus, Message: message}
	case JSON11:
		return Exception{Name: row.json, Status: row.json11Status, Message: message}
	}
	return Exception{Name: row.json, Status: row.rest, Message: message}
}

// signatureTrouble maps a refusal of sigv4.
func signatureTrouble(e *sigv4.Error) trouble {
	switch e.Code {
	case sigv4.Missing:
		return noAuthentication
	case sigv4.Incomplete:
		return unreadableSignature
	case sigv4.Scope:
		return wrongScope
	case sigv4.Time:
		return oldSignature
	}
	return badSignature
}
