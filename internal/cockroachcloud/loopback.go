package cockroachcloud

import "net/url"

// IsLoopback reports whether the server's address says that it is on this machine: a simulator, never a fleet that somebody
// depends on. The empty server is [DefaultServer].
func IsLoopback(server string) bool {
	u, err := url.Parse(server)
	return err == nil && server != "" && isLoopback(u.Hostname())
}
