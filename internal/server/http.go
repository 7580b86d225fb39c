package server

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"strongroom/internal/durable"
)

// drain bounds how long a stopping node waits for requests under way.
const drain = 20 * time.Second

// Run serves requests and runs jobs until ctx ends, then drains and returns nil. When the node accepts requests it has
// written its URL to the endpoint file, and calls ready with it. Call it once.
func (s *Server) Run(ctx context.Context, ready func(url string)) error {
	ln, err := net.Listen("tcp", s.cfg.Listen)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	scheme := "http"
	if s.cfg.TLS.Cert != "" {
		pair, err := tls.LoadX509KeyPair(s.cfg.TLS.Cert, s.cfg.TLS.Key)
		if err != nil {
			ln.Close()
			return fmt.Errorf("tls: %w", err)
		}
		ln = tls.NewListener(ln, &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}})
		scheme = "https"
	}
	h := &http.Server{
		Handler:           s,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       2 * time.Minute,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(s.cfg.Log.Handler(), slog.LevelInfo),
		BaseContext:       func(net.Listener) context.Context { return context.WithoutCancel(ctx) },
	}
	url := scheme + "://" + ln.Addr().String()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		if err := h.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve: %w", err)
		}
		return nil
	})
	g.Go(func() error {
		<-gctx.Done()
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
		defer cancel()
		err := h.Shutdown(stop)
		if errors.Is(err, context.DeadlineExceeded) {
			s.cfg.Log.Warn("requests under way were cut off", "after", drain)
			err = h.Close()
		}
		return err
	})
	g.Go(func() error { return s.work(gctx) })
	endpoint := s.data.join(EndpointFile)
	if err := durable.WriteFile(endpoint, []byte(url+"\n"), 0o644); err != nil {
		cancel()
		return errors.Join(err, g.Wait())
	}
	s.ready.Store(true)
	s.cfg.Log.Info("serving", "url", url, "account", s.data.marker.Account, "node", s.data.marker.Node)
	if ready != nil {
		ready(url)
	}
	err = g.Wait()
	s.ready.Store(false)
	if rmErr := os.Remove(endpoint); rmErr != nil && !errors.Is(rmErr, fs.ErrNotExist) {
		err = errors.Join(err, rmErr)
	}
	s.cfg.Log.Info("stopped", "err", err)
	return err
}

// ServeHTTP answers health checks and hands everything else to the wire layer, with its path untouched: signatures are
// made over the path as it was sent.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.RequestURI {
	case "/healthz":
		status(w, r, http.StatusOK, "alive", "")
	case "/readyz":
		if !s.ready.Load() {
			status(w, r, http.StatusServiceUnavailable, "starting", "")
			return
		}
		if err := s.db.Ping(r.Context()); err != nil {
			status(w, r, http.StatusServiceUnavailable, "catalog unavailable", "")
			return
		}
		if clock := s.trusted.Read(); clock.Frozen {
			status(w, r, http.StatusOK, "serving", clock.Reason)
			return
		}
		status(w, r, http.StatusOK, "serving", "")
	default:
		s.handler.ServeHTTP(w, r)
	}
}

func status(w http.ResponseWriter, r *http.Request, code int, state, warning string) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	body := map[string]string{"status": state}
	if warning != "" {
		body["warning"] = warning
	}
	json.NewEncoder(w).Encode(body)
}
