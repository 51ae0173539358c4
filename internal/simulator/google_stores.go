package simulator

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"hash/crc32"
	"io"
	"maps"
	"mime"
	"mime/multipart"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// castagnoli is the CRC-32 of Google's APIs.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// secrets serves Secret Manager's projects.secrets.versions.access and get, of the secrets of the seed. Each has one version, as old as the
// organization.
func (w *World) secrets(rw http.ResponseWriter, r *http.Request) {
	name := "projects/" + r.PathValue("project") + "/secrets/" + r.PathValue("secret")
	w.enter()
	value, ok := w.google.secrets[name]
	created := w.organizationCreated
	w.mu.Unlock()
	version, isAccess := strings.CutSuffix(r.PathValue("version"), ":access")
	if !ok || version != "latest" && version != "1" {
		writeGoogle(rw, http.StatusNotFound, map[string]any{"error": map[string]any{
			"code": http.StatusNotFound, "message": "Secret [" + name + "] not found or has no versions.", "status": "NOT_FOUND"}})
		return
	}
	if !isAccess {
		writeGoogle(rw, http.StatusOK, map[string]any{"name": name + "/versions/1", "createTime": created, "state": "ENABLED"})
		return
	}
	writeGoogle(rw, http.StatusOK, map[string]any{"name": name + "/versions/1", "payload": map[string]any{
		"data": base64.StdEncoding.EncodeToString([]byte(value)), "dataCrc32c": strconv.FormatUint(uint64(crc32.Checksum([]byte(value), castagnoli)), 10)}})
}

// storedObject is a generation of an object in a bucket with versioning. It is live until another one takes its place or it is deleted.
type storedObject struct {
	data             []byte
	created, deleted time.Time
}

// live is the live generation of an object, counted from 1; 0 if there is none.
func live(all []storedObject) int {
	if n := len(all); n > 0 && all[n-1].deleted.IsZero() {
		return n
	}
	return 0
}

// writeObject serves the multipart uploads of Cloud Storage's JSON API, in any bucket, with the precondition that the name is free or
// without one (cloud.google.com/storage/docs/json_api/v1/objects/insert).
func (w *World) writeObject(rw http.ResponseWriter, r *http.Request) {
	name, data, err := upload(r)
	condition := r.URL.Query().Get("ifGenerationMatch")
	if err != nil || condition != "0" && condition != "" {
		storageRefusal(rw, http.StatusBadRequest, "want a multipart upload, with ifGenerationMatch=0 or without it", "invalid")
		return
	}
	object := r.PathValue("bucket") + "/" + name
	now := w.enter()
	all := w.google.objects[object]
	taken := condition == "0" && live(all) > 0
	if !taken {
		if n := live(all); n > 0 {
			all[n-1].deleted = now
		}
		all = append(all, storedObject{data: data, created: now})
		w.google.objects[object] = all
	}
	w.mu.Unlock()
	if taken {
		storageRefusal(rw, http.StatusPreconditionFailed, "At least one of the pre-conditions you specified did not hold.", "conditionNotMet")
		return
	}
	writeGoogle(rw, http.StatusOK, objectOf(r.PathValue("bucket"), name, len(all), all[len(all)-1]))
}

// objectOf is a generation as the API shows it (cloud.google.com/storage/docs/json_api/v1/objects#resource).
func objectOf(bucket, name string, generation int, o storedObject) map[string]any {
	sum := binary.BigEndian.AppendUint32(nil, crc32.Checksum(o.data, castagnoli))
	shown := map[string]any{
		"kind": "storage#object", "bucket": bucket, "name": name, "size": strconv.Itoa(len(o.data)),
		"crc32c": base64.StdEncoding.EncodeToString(sum), "generation": strconv.Itoa(generation), "timeCreated": o.created.Format(time.RFC3339Nano)}
	if !o.deleted.IsZero() {
		shown["timeDeleted"] = o.deleted.Format(time.RFC3339Nano)
	}
	return shown
}

// listObjects lists the objects of a bucket, with all generations if asked to, a few a page
// (cloud.google.com/storage/docs/json_api/v1/objects/list).
func (w *World) listObjects(rw http.ResponseWriter, r *http.Request) {
	const page = 5 // the API may answer with fewer than asked for
	q, bucket := r.URL.Query(), r.PathValue("bucket")
	var items []map[string]any
	w.enter()
	for _, object := range slices.Sorted(maps.Keys(w.google.objects)) {
		name, found := strings.CutPrefix(object, bucket+"/")
		if !found || !strings.HasPrefix(name, q.Get("prefix")) {
			continue
		}
		all := w.google.objects[object]
		for i, o := range all {
			if q.Get("versions") == "true" || i+1 == live(all) {
				items = append(items, objectOf(bucket, name, i+1, o))
			}
		}
	}
	w.mu.Unlock()
	first, _ := strconv.Atoi(q.Get("pageToken"))
	first = min(max(first, 0), len(items))
	answer := map[string]any{"kind": "storage#objects"}
	if rest := items[first:]; len(rest) > page {
		answer["items"], answer["nextPageToken"] = rest[:page], strconv.Itoa(first+page)
	} else if len(rest) > 0 {
		answer["items"] = rest
	}
	writeGoogle(rw, http.StatusOK, answer)
}

// deleteObject makes the live generation of an object a past one (cloud.google.com/storage/docs/object-versioning).
func (w *World) deleteObject(rw http.ResponseWriter, r *http.Request) {
	now := w.enter()
	all := w.google.objects[r.PathValue("bucket")+"/"+r.PathValue("object")]
	n := live(all)
	if n > 0 {
		all[n-1].deleted = now
	}
	w.mu.Unlock()
	if n == 0 {
		storageRefusal(rw, http.StatusNotFound, "No such object.", "notFound")
		return
	}
	rw.WriteHeader(http.StatusNoContent)
}

// mostObject is the largest object that is stored.
const mostObject = 64 << 20

// upload reads the two parts of a multipart upload.
func upload(r *http.Request) (name string, data []byte, err error) {
	_, parameters, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		return "", nil, err
	}
	parts := multipart.NewReader(io.LimitReader(r.Body, mostObject), parameters["boundary"])
	first, err := parts.NextPart()
	if err != nil {
		return "", nil, err
	}
	var about struct {
		Name string `json:"name"`
	}
	if err := json.NewDecoder(first).Decode(&about); err != nil {
		return "", nil, err
	}
	second, err := parts.NextPart()
	if err != nil {
		return "", nil, err
	}
	data, err = io.ReadAll(second)
	return about.Name, data, err
}

// Objects are the contents of the objects in Cloud Storage, by bucket/name.
func (w *World) Objects() map[string][]byte {
	w.enter()
	defer w.mu.Unlock()
	objects := map[string][]byte{}
	for name, all := range w.google.objects {
		if n := live(all); n > 0 {
			objects[name] = all[n-1].data
		}
	}
	return objects
}

// readObject serves the content of an object, or of one generation of it.
func (w *World) readObject(rw http.ResponseWriter, r *http.Request) {
	w.enter()
	all := w.google.objects[r.PathValue("bucket")+"/"+r.PathValue("object")]
	w.mu.Unlock()
	n := live(all)
	if generation := r.URL.Query().Get("generation"); generation != "" {
		n, _ = strconv.Atoi(generation)
	}
	if n < 1 || n > len(all) {
		storageRefusal(rw, http.StatusNotFound, "No such object.", "notFound")
		return
	}
	_, _ = rw.Write(all[n-1].data)
}

// storageRefusal is an error of the JSON API, which has no status but a reason
// (cloud.google.com/storage/docs/json_api/v1/status-codes).
func storageRefusal(rw http.ResponseWriter, code int, message, reason string) {
	writeGoogle(rw, code, map[string]any{"error": map[string]any{
		"code": code, "message": message, "errors": []map[string]string{{"domain": "global", "reason": reason, "message": message}}}})
}

func writeGoogle(rw http.ResponseWriter, status int, body any) {
	rw.Header().Set("Content-Type", "application/json; charset=UTF-8")
	rw.WriteHeader(status)
	_ = json.NewEncoder(rw).Encode(body)
}
