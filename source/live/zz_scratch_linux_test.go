package live_test
import ("testing";"time";"path/filepath";"os";"fmt";"golang.org/x/sys/unix";"github.com/tarn-backup/tarn/source/live")
func TestZZ(t *testing.T){
 dir:=t.TempDir(); dirfd:=openDir(t,dir); var names []string
 for i:=range 200 { n:=fmt.Sprint(i); os.WriteFile(filepath.Join(dir,n),block(1,0),0o600); names=append(names,n)}
 c:=newCapturer(t,live.Options{Now:inAnHour}); buf:=make([]byte,8192)
 a,b:=time.Hour,time.Hour
 for range 3000 {
  s:=time.Now()
  for _,n:=range names { f,_:=c.Open(t.Context(),dirfd,n,live.First); f.Read(buf); f.Finish(t.Context()); f.Close() }
  a=min(a,time.Since(s)); s=time.Now()
  for _,n:=range names { fd,_:=unix.Openat(dirfd,n,unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC|unix.O_NOATIME,0); var st unix.Stat_t; unix.Fstat(fd,&st); unix.Pread(fd,buf,0); unix.Close(fd)}
  b=min(b,time.Since(s))
 }
 t.Logf("capture %v plain %v extra %v a file",a/200,b/200,(a-b)/200)
}
