package conformance;

import java.io.DataInputStream;
import java.io.EOFException;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.net.SocketException;
import java.net.SocketTimeoutException;
import java.nio.ByteBuffer;
import java.time.Duration;
import org.apache.kafka.common.message.ApiMessageType;
import org.apache.kafka.common.protocol.ApiMessage;

/** A socket to a broker that sends any bytes and reads answers in the order of the requests. */
final class Connection implements AutoCloseable {
    private static final Duration PATIENCE = Duration.ofSeconds(10);

    private final Socket socket = new Socket();
    private final DataInputStream input;
    private final String client;
    private int correlation;

    Connection(Address address, String client) throws IOException {
        this.client = client;
        socket.connect(new InetSocketAddress(address.host(), address.port()));
        socket.setTcpNoDelay(true);
        socket.setSoTimeout((int) PATIENCE.toMillis());
        input = new DataInputStream(socket.getInputStream());
    }

    /** Sends a request and reads its answer. */
    Answer ask(short version, ApiMessage request) throws IOException {
        send(Frame.of(version, ++correlation, client, request));
        return receive(request.apiKey(), version, correlation);
    }

    /** Sends a request, and reads nothing. */
    void tell(short version, ApiMessage request) throws IOException {
        send(Frame.of(version, ++correlation, client, request));
    }

    /** Reads the answer to the request sent last. */
    Answer receive(short api, short version) throws IOException {
        return receive(api, version, correlation);
    }

    /** Sends bytes as they are. A broker that has closed already is seen by reading. */
    void send(byte[] bytes) throws IOException {
        try {
            socket.getOutputStream().write(bytes);
        } catch (SocketException closed) {
            return;
        }
    }

    /** Reads the answer to a request of this correlation id, as of this API and version. */
    Answer receive(short api, short version, int expected) throws IOException {
        try {
            var frame = new byte[input.readInt()];
            input.readFully(frame);
            var type = ApiMessageType.fromApiKey(api);
            return Answer.decode(type, version, expected, ByteBuffer.wrap(frame));
        } catch (EOFException | SocketException closed) {
            return Answer.CLOSED;
        } catch (SocketTimeoutException late) {
            return Answer.SILENCE;
        }
    }

    @Override
    public void close() throws IOException {
        socket.close();
    }
}
