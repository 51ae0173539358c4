package simulator

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/keyturn/keyturn/internal/cmek"
)

// Control serves what tests and demos do to the world from outside it, under /_simulator/:
//
//	GET  events?after=N   what the clouds emitted after sequence number N; NDJSON if Accept says application/x-ndjson
//	GET  requests, puts, store-keys, switches
//	POST switches         {"name": "busy-reply", "value": "409"}
//	POST rotate           {"key": "arn:…"}
//	POST deny             {"key": "arn:…", "denied": true}
//	POST deny-google      {"resource": "projects/p", "denied": true, "permissions": ["…"]}; all permissions if none is given
//	POST fail-key         {"key": "projects/…", "code": 8, "message": "…"}: its next automatic rotation
//	POST fail-rotation    {"cluster": "orders", "region": "us-east-1", "message": "…"}
//	POST lock             {"cluster": "orders", "operation_status": "CRDB_PATCH_RUNNING", "duration": "10m"}
//	POST hide             {"cluster": "orders", "hidden": true}
//	POST hide-cmek        {"cluster": "orders", "form": "404"}; form "" shows it again
//	POST hide-region      {"cluster": "orders", "region": "us-east-1", "view": "cmek", "hidden": true}; view cluster or cmek
//	POST add-region       {"cluster": "orders", "nodes": 3, "region_specs": [{"region": "us-west-1", "key_spec": {…}}]}
//	POST remove-region    {"cluster": "orders", "region": "us-east-1"}
//	POST restore          {"cluster": "orders"}: what Cockroach Labs' support does for a revoked cluster
//	POST put              {"service_account": "org-admin", "cluster": "orders", "region_specs": […]}; none for the keys in force
//
// Errors are 400 with plain text. There is no authentication: serve it on a loopback address only.
func (w *World) Control() http.Handler {
	mux := http.NewServeMux()
	get := func(path string, read func() any) {
		mux.HandleFunc("GET /_simulator/"+path, func(rw http.ResponseWriter, _ *http.Request) {
			newAnswer(http.StatusOK, "application/json", toJSON(read())).write(rw)
		})
	}
	get("requests", func() any { return orEmpty(w.Requests()) })
	get("puts", func() any { return orEmpty(w.PUTs()) })
	get("store-keys", func() any { return orEmpty(w.StoreKeys()) })
	get("switches", func() any { return w.Switches() })
	mux.HandleFunc("GET /_simulator/events", w.controlEvents)

	post := func(path string, do func(controlRequest) error) {
		mux.HandleFunc("POST /_simulator/"+path, func(rw http.ResponseWriter, r *http.Request) {
			var request controlRequest
			err := json.NewDecoder(http.MaxBytesReader(rw, r.Body, mostBody)).Decode(&request)
			if err == nil {
				err = do(request)
			}
			if err != nil {
				http.Error(rw, err.Error(), http.StatusBadRequest)
				return
			}
			rw.WriteHeader(http.StatusNoContent)
		})
	}
	post("switches", func(r controlRequest) error { return w.Set(r.Name, r.Value) })
	post("rotate", func(r controlRequest) error { return w.Rotate(r.Key) })
	post("deny", func(r controlRequest) error { return w.DenyKMS(r.Key, r.Denied) })
	post("deny-google", func(r controlRequest) error { return w.DenyGoogle(r.Resource, r.Denied, r.Permissions...) })
	post("fail-key", func(r controlRequest) error { return w.FailNextKeyRotation(r.Key, r.Code, r.Message) })
	post("fail-rotation", func(r controlRequest) error { return w.FailNextRotation(r.Cluster, r.Region, r.Message) })
	post("hide", func(r controlRequest) error { return w.setHidden(r.Cluster, r.Hidden) })
	post("hide-cmek", func(r controlRequest) error {
		if r.Form == "" {
			return w.ShowCMEK(r.Cluster)
		}
		return w.HideCMEK(r.Cluster, r.Form)
	})
	post("hide-region", func(r controlRequest) error { return w.setRegionHidden(r.Cluster, r.Region, r.View, r.Hidden) })
	post("add-region", func(r controlRequest) error {
		if len(r.RegionSpecs) != 1 {
			return errors.New("region_specs must hold the one region to add")
		}
		return w.AddRegion(r.Cluster, r.Nodes, r.RegionSpecs[0])
	})
	post("remove-region", func(r controlRequest) error { return w.RemoveRegion(r.Cluster, r.Region) })
	post("restore", func(r controlRequest) error { return w.Restore(r.Cluster) })
	post("put", func(r controlRequest) error { return w.PUTCMEK(r.ServiceAccount, r.Cluster, r.RegionSpecs...) })
	post("lock", func(r controlRequest) error {
		duration, err := time.ParseDuration(r.Duration)
		if err != nil {
			return err
		}
		return w.Lock(r.Cluster, r.OperationStatus, duration)
	})
	return mux
}

// controlRequest holds the fields of all POST bodies.
type controlRequest struct {
	Name            string `json:"name"`
	Value           string `json:"value"`
	Key             string `json:"key"`
	Denied          bool   `json:"denied"`
	Resource        string `json:"resource"`
	Code            int    `json:"code"`
	Cluster         string `json:"cluster"`
	Region          string `json:"region"`
	Message         string `json:"message"`
	OperationStatus string `json:"operation_status"`
	Duration        string `json:"duration"`
	Hidden          bool   `json:"hidden"`
	Form            string `json:"form"`
	View            string `json:"view"`
	Nodes           int    `json:"nodes"`
	ServiceAccount  string `json:"service_account"`

	Permissions []string          `json:"permissions"`
	RegionSpecs []cmek.RegionSpec `json:"region_specs"`
}

func (w *World) controlEvents(rw http.ResponseWriter, r *http.Request) {
	after := 0
	if asked := r.URL.Query().Get("after"); asked != "" {
		var err error
		if after, err = strconv.Atoi(asked); err != nil {
			http.Error(rw, "after is not a number", http.StatusBadRequest)
			return
		}
	}
	events := w.EventsAfter(after)
	if !strings.Contains(r.Header.Get("Accept"), "application/x-ndjson") {
		newAnswer(http.StatusOK, "application/json", toJSON(orEmpty(events))).write(rw)
		return
	}
	var lines bytes.Buffer
	for _, event := range events {
		lines.Write(append(toJSON(event), '\n'))
	}
	newAnswer(http.StatusOK, "application/x-ndjson", lines.Bytes()).write(rw)
}

// orEmpty keeps an empty list from becoming null.
func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
