package simulator

import "time"

func (w *World) getBackupConfiguration(call *cloudCall) (any, *cloudError) {
	c, failed := w.pathCluster(call)
	if failed != nil {
		return nil, failed
	}
	return struct {
		Enabled          bool `json:"enabled"`
		RetentionDays    int  `json:"retention_days"`
		FrequencyMinutes int  `json:"frequency_minutes"`
	}{true, c.backups.RetentionDays, c.backups.FrequencyMinutes}, nil
}

// backupView is the schema BackupSummary.
type backupView struct {
	ID       string    `json:"id"`
	AsOfTime time.Time `json:"as_of_time"`
}

// listBackups shows the backups that the configuration promises, oldest first. They are computed, and they succeed even
// while a key is unusable.
func (w *World) listBackups(call *cloudCall) (any, *cloudError) {
	c, failed := w.pathCluster(call)
	if failed != nil {
		return nil, failed
	}
	query := call.URL.Query()
	start, startErr := optionalTime(query.Get("start_time"))
	end, endErr := optionalTime(query.Get("end_time"))
	if startErr != nil || endErr != nil {
		return nil, badRequest("invalid start_time or end_time")
	}
	page, failed := w.pageRequest(call, "backups"+query.Get("start_time")+query.Get("end_time"))
	if failed != nil {
		return nil, failed
	}
	if end.IsZero() || end.After(call.now) {
		end = call.now
	}
	for _, bound := range []time.Time{c.created, ago(call.now, c.backups.RetentionDays)} {
		if bound.After(start) {
			start = bound
		}
	}
	every := time.Duration(c.backups.FrequencyMinutes) * time.Minute
	first, n := start.Truncate(every).Add(every), 0
	if !first.After(end) {
		n = int(end.Sub(first)/every) + 1
	}
	result := struct {
		Backups    []backupView `json:"backups"`
		Pagination *pagination  `json:"pagination"`
	}{Backups: []backupView{}}
	result.Pagination = w.cut(page, n, func(i int) bool {
		at := first.Add(time.Duration(i) * every)
		result.Backups = append(result.Backups, backupView{derivedUUID("backup", c.id, at.Format(time.RFC3339)), at})
		return true
	})
	return result, nil
}
