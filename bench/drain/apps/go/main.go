// An app on net/http as the package's own first example writes it: ListenAndServe, and nobody calls Shutdown. SIGTERM ends it at once.
package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"os"
	"strconv"
	"time"
)

const slow = 100 * time.Millisecond

func main() {
	length, err := strconv.Atoi(os.Getenv("DOWNLOAD_BYTES"))
	if err != nil {
		log.Fatal(err)
	}
	download := make([]byte, length)
	for i := range download {
		download[i] = byte(i % 251)
	}
	http.HandleFunc("/quick", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "hello\n") })
	http.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(slow)
		io.WriteString(w, "slow\n")
	})
	http.HandleFunc("/upload", func(w http.ResponseWriter, r *http.Request) {
		hash := sha256.New()
		n, err := io.Copy(hash, r.Body)
		if err != nil {
			return
		}
		json.NewEncoder(w).Encode(map[string]any{"length": n, "sha256": hex.EncodeToString(hash.Sum(nil))})
	})
	http.HandleFunc("/download", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(length))
		w.Write(download)
	})
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), nil))
}
