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
	"strconv"
	"strings"
)

// castagnoli is the CRC-32 of Google's APIs.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// secrets serves Secret Manager's projects.secrets.versions.access, of the secrets of the seed. Each has one version.
func (w *World) secrets(rw http.ResponseWriter, r *http.Request) {
	name := "projects/" + r.PathValue("project") + "/secrets/" + r.PathValue("secret")
	w.enter()
	value, ok := w.google.secrets[name]
	w.mu.Unlock()
	version, isAccess := strings.CutSuffix(r.PathValue("version"), ":access")
	if !ok || !isAccess || version != "latest" && version != "1" {
		writeGoogle(rw, http.StatusNotFound, map[string]any{"error": map[string]any{
			"code": http.StatusNotFound, "message": "Secret [" + name + "] not found or has no versions.", "status": "NOT_FOUND"}})
		return
	}
	writeGoogle(rw, http.StatusOK, map[string]any{"name": name + "/versions/1", "payload": map[string]any{
		"data": base64.StdEncoding.EncodeToString([]byte(value)), "dataCrc32c": strconv.FormatUint(uint64(crc32.Checksum([]byte(value), castagnoli)), 10)}})
}

// writeObject serves the multipart uploads of Cloud Storage's JSON API to names that are free, in any bucket
// (cloud.google.com/storage/docs/json_api/v1/objects/insert).
func (w *World) writeObject(rw http.ResponseWriter, r *http.Request) {
	name, data, err := upload(r)
	if err != nil || r.URL.Query().Get("ifGenerationMatch") != "0" {
		storageRefusal(rw, http.StatusBadRequest, "want a multipart upload with ifGenerationMatch=0", "invalid")
		return
	}
	object := r.PathValue("bucket") + "/" + name
	w.enter()
	_, taken := w.google.objects[object]
	if !taken {
		w.google.objects[object] = data
	}
	w.mu.Unlock()
	if taken {
		storageRefusal(rw, http.StatusPreconditionFailed, "At least one of the pre-conditions you specified did not hold.", "conditionNotMet")
		return
	}
	sum := binary.BigEndian.AppendUint32(nil, crc32.Checksum(data, castagnoli))
	writeGoogle(rw, http.StatusOK, map[string]any{
		"kind": "storage#object", "bucket": r.PathValue("bucket"), "name": name, "size": strconv.Itoa(len(data)),
		"crc32c": base64.StdEncoding.EncodeToString(sum), "generation": "1"})
}

// upload reads the two parts of a multipart upload.
func upload(r *http.Request) (name string, data []byte, err error) {
	_, parameters, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		return "", nil, err
	}
	parts := multipart.NewReader(io.LimitReader(r.Body, mostBody), parameters["boundary"])
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
	return maps.Clone(w.google.objects)
}

// readObject serves the content of an object.
func (w *World) readObject(rw http.ResponseWriter, r *http.Request) {
	w.enter()
	data, ok := w.google.objects[r.PathValue("bucket")+"/"+r.PathValue("object")]
	w.mu.Unlock()
	if !ok {
		storageRefusal(rw, http.StatusNotFound, "No such object.", "notFound")
		return
	}
	_, _ = rw.Write(data)
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
