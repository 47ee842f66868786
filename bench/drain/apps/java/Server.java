import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetSocketAddress;
import java.security.MessageDigest;
import java.util.HexFormat;
import java.util.concurrent.Executors;

/** An app on the JDK's HttpServer. No shutdown hook: SIGTERM ends the JVM at once. */
public class Server {
	static final int SLOW_MS = 100;
	/** HttpServer copies what it is given to write, twice over. */
	static final int WRITE_BYTES = 65536;

	public static void main(String[] args) throws IOException {
		byte[] download = new byte[Integer.parseInt(System.getenv("DOWNLOAD_BYTES"))];
		for (int i = 0; i < download.length; i++) download[i] = (byte) (i % 251);
		int port = Integer.parseInt(System.getenv("PORT"));
		HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", port), 0);
		server.setExecutor(Executors.newCachedThreadPool()); // the default is one thread, which one slow download would hold
		server.createContext("/quick", (exchange) -> answer(exchange, "hello\n".getBytes()));
		server.createContext("/slow", (exchange) -> {
			try {
				Thread.sleep(SLOW_MS);
			} catch (InterruptedException interrupted) {
				Thread.currentThread().interrupt();
			}
			answer(exchange, "slow\n".getBytes());
		});
		server.createContext("/upload", Server::upload);
		server.createContext("/download", (exchange) -> answer(exchange, download));
		server.start();
	}

	static void upload(HttpExchange exchange) throws IOException {
		try {
			MessageDigest digest = MessageDigest.getInstance("SHA-256");
			byte[] buffer = new byte[65536];
			long length = 0;
			InputStream in = exchange.getRequestBody();
			for (int n; (n = in.read(buffer)) > 0; length += n) digest.update(buffer, 0, n);
			String sha256 = HexFormat.of().formatHex(digest.digest());
			answer(exchange, ("{\"length\":" + length + ",\"sha256\":\"" + sha256 + "\"}").getBytes());
		} catch (java.security.NoSuchAlgorithmException impossible) {
			throw new IOException(impossible); // every JDK has SHA-256
		}
	}

	static void answer(HttpExchange exchange, byte[] body) throws IOException {
		try (exchange) {
			exchange.sendResponseHeaders(200, body.length);
			OutputStream out = exchange.getResponseBody();
			for (int at = 0; at < body.length; at += WRITE_BYTES) out.write(body, at, Math.min(WRITE_BYTES, body.length - at));
		}
	}
}
