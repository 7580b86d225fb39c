package server

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"strongroom/internal/clock"
)

// running is a server between ready and stopped.
type running struct {
	*Server
	url  string
	stop func() error // ends Run and returns what it returned; may be called again
}

func run(t *testing.T, c Config) *running {
	t.Helper()
	if c.Listen == "" {
		c.Listen = "127.0.0.1:0"
	}
	if c.Data == "" {
		c.Data = filepath.Join(t.TempDir(), "node")
	}
	s, err := Open(t.Context(), c)
	check(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	url, ended := make(chan string, 1), make(chan error, 1)
	go func() { ended <- s.Run(ctx, func(u string) { url <- u }) }()
	r := &running{Server: s}
	var result error
	stopped := false
	r.stop = func() error {
		cancel()
		if !stopped {
			stopped, result = true, <-ended
		}
		return result
	}
	t.Cleanup(func() { r.stop(); s.Close() })
	select {
	case r.url = <-url:
	case err := <-ended:
		t.Fatalf("ended: %v", err)
	}
	return r
}

func get(t *testing.T, c *http.Client, url string) (int, map[string]string) {
	t.Helper()
	res, err := c.Get(url)
	check(t, err)
	defer res.Body.Close()
	var body map[string]string
	raw, err := io.ReadAll(res.Body)
	check(t, err)
	if err := json.Unmarshal(raw, &body); err != nil {
		t.Fatalf("%s: %s", url, raw)
	}
	return res.StatusCode, body
}

func TestHealthAndReadiness(t *testing.T) {
	t.Parallel()
	fake := clock.NewFake(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	n := run(t, Config{Clock: fake})
	raw, err := os.ReadFile(n.data.join(EndpointFile))
	if err != nil || strings.TrimSpace(string(raw)) != n.url {
		t.Errorf("endpoint file %q, %v; serving at %s", raw, err, n.url)
	}
	if code, body := get(t, http.DefaultClient, n.url+"/healthz"); code != 200 || body["status"] != "alive" {
		t.Errorf("healthz: %d %v", code, body)
	}
	if code, body := get(t, http.DefaultClient, n.url+"/readyz"); code != 200 || body["status"] != "serving" || body["warning"] != "" {
		t.Errorf("readyz: %d %v", code, body)
	}
	res, err := http.Post(n.url+"/readyz", "", nil)
	check(t, err)
	res.Body.Close()
	if res.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", res.StatusCode)
	}
	fake.Set(fake.Now().Add(-48 * time.Hour))
	if code, body := get(t, http.DefaultClient, n.url+"/readyz"); code != 200 || !strings.Contains(body["warning"], "deletion is suspended") {
		t.Errorf("readyz with a wrong clock: %d %v", code, body)
	}
	check(t, n.stop())
	if _, err := os.Stat(n.data.join(EndpointFile)); err == nil {
		t.Error("the endpoint file outlives the node")
	}
	if n.ready.Load() {
		t.Error("ready after the end")
	}
}

func TestNotReadyBeforeItServes(t *testing.T) {
	t.Parallel()
	n := startNode(t)
	if code, body := get(t, http.DefaultClient, n.url+"/readyz"); code != http.StatusServiceUnavailable || body["status"] != "starting" {
		t.Errorf("%d %v", code, body)
	}
	if code, _ := get(t, http.DefaultClient, n.url+"/healthz"); code != 200 {
		t.Errorf("healthz: %d", code)
	}
}

// A request that is under way when the node is told to stop gets its answer; new ones get no connection.
func TestStoppingDrainsRequests(t *testing.T) {
	t.Parallel()
	n := run(t, Config{})
	address := strings.TrimPrefix(n.url, "http://")
	c, err := net.Dial("tcp", address)
	check(t, err)
	defer c.Close()
	const body = "Action=GetCallerIdentity&Version=2011-06-15"
	fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: %s\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n", address, len(body))
	in := bufio.NewReader(c)
	if line, err := in.ReadString('\n'); err != nil || !strings.Contains(line, "100 Continue") { // the handler is reading the body
		t.Fatalf("%q, %v", line, err)
	}
	if _, err := in.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- n.stop() }()
	for { // the listener closes first
		d, err := net.Dial("tcp", address)
		if err != nil {
			break
		}
		d.Close()
	}
	select {
	case err := <-ended:
		t.Fatalf("ended with a request under way: %v", err)
	default:
	}
	fmt.Fprint(c, body)
	res, err := http.ReadResponse(in, nil)
	check(t, err)
	raw, err := io.ReadAll(res.Body)
	check(t, err)
	if !strings.Contains(string(raw), "MissingAuthenticationToken") { // an answer, whole: it was not signed
		t.Errorf("%d %s", res.StatusCode, raw)
	}
	check(t, <-ended)
}

// certificate writes a key pair for 127.0.0.1 and returns the pool that trusts it.
func certificate(t *testing.T) (TLS, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	check(t, err)
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	check(t, err)
	dir := t.TempDir()
	pair := TLS{Cert: filepath.Join(dir, "tls.crt"), Key: filepath.Join(dir, "tls.key")}
	write(t, pair.Cert, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	write(t, pair.Key, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw})))
	pool := x509.NewCertPool()
	cert, err := x509.ParseCertificate(der)
	check(t, err)
	pool.AddCert(cert)
	return pair, pool
}

func TestTLS(t *testing.T) {
	t.Parallel()
	pair, pool := certificate(t)
	n := run(t, Config{TLS: pair, Listen: "0.0.0.0:0"}) // any address, with TLS
	_, port, err := net.SplitHostPort(strings.TrimPrefix(n.url, "https://"))
	check(t, err)
	secure := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	defer secure.CloseIdleConnections()
	if code, _ := get(t, secure, "https://127.0.0.1:"+port+"/readyz"); code != 200 {
		t.Errorf("readyz: %d", code)
	}
	old := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MaxVersion: tls.VersionTLS11}}}
	if _, err := old.Get("https://127.0.0.1:" + port + "/readyz"); err == nil {
		t.Error("TLS 1.1 was accepted")
	}
	if res, err := http.Get("http://127.0.0.1:" + port + "/readyz"); err == nil {
		res.Body.Close()
		if res.StatusCode == 200 {
			t.Error("plain HTTP was answered")
		}
	}
}

func TestUnreadableCertificateEndsTheStart(t *testing.T) {
	t.Parallel()
	pair, _ := certificate(t)
	pair.Key = pair.Cert
	s, err := Open(t.Context(), Config{Data: t.TempDir(), Listen: "127.0.0.1:0", TLS: pair})
	check(t, err)
	defer s.Close()
	if err := s.Run(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "tls") {
		t.Errorf("got %v", err)
	}
}

// When the address cannot be told, nothing keeps running behind the caller's back.
func TestRunEndsWhenTheEndpointCannotBeWritten(t *testing.T) {
	t.Parallel()
	s, err := Open(t.Context(), Config{Data: filepath.Join(t.TempDir(), "node"), Listen: "127.0.0.1:0"})
	check(t, err)
	defer s.Close()
	check(t, os.Mkdir(s.data.join(EndpointFile), 0o700))
	if err := s.Run(t.Context(), func(string) { t.Error("ready") }); err == nil {
		t.Error("no error")
	}
}
