// Package compat proves that what was written once stays readable: golden vaults of every format version, made by the real
// engine and never changed again, are opened, verified and restored by today's engine and by an independent reader
// (reader.py), which follows docs/FORMAT.md and shares no code with the engine.
//
// It holds tests only. testdata has a vault per file and, beside it, what must come out of it. Start reading at golden_test.go;
// make_test.go is how the golden vaults of the current version were made.
package compat
