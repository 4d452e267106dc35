<?xml version="1.0" encoding="utf-8"?>
<!DOCTYPE TS>
<TS version="2.1" language="it_IT" sourcelanguage="en_US">
<context>
    <name>DeployEndpoint</name>
    <message>
        <source>A date, such as 2026-12-31, on which you are reminded to delete it. Nothing is deleted automatically.</source>
        <translation>Una data, per esempio 2026-12-31, in cui viene ricordato di eliminarlo. Nulla viene eliminato automaticamente.</translation>
    </message>
    <message>
        <source>Automatic takes the first recommended machine for which you have quota.</source>
        <translation>Automatico usa la prima macchina consigliata per cui è disponibile una quota.</translation>
    </message>
    <message>
        <source>Azure continues what was started, and it costs money.</source>
        <translation>Azure prosegue ciò che è stato avviato, e ciò comporta costi.</translation>
    </message>
    <message>
        <source>Azure sign-in:</source>
        <translation>Accesso ad Azure:</translation>
    </message>
    <message>
        <source>Check the workspace, the quota and the price. Nothing is changed in Azure.</source>
        <translation>Verifica l&apos;area di lavoro, la quota e il prezzo. In Azure non cambia nulla.</translation>
    </message>
    <message>
        <source>Create endpoint</source>
        <translation>Crea endpoint</translation>
    </message>
    <message>
        <source>Creates an endpoint for one of the models in your own Azure subscription. It costs money from its creation until it is deleted, whether it is used or not. You see first what will be created and what it costs.</source>
        <translation>Crea un endpoint per uno dei modelli nella propria sottoscrizione di Azure. Comporta costi dalla creazione fino all&apos;eliminazione, che venga usato o no. Prima viene mostrato che cosa verrà creato e quanto costa.</translation>
    </message>
    <message>
        <source>Delete by:</source>
        <translation>Eliminare entro:</translation>
    </message>
    <message>
        <source>Delete…</source>
        <translation>Elimina…</translation>
    </message>
    <message>
        <source>Endpoint sign-in:</source>
        <translation>Accesso all&apos;endpoint:</translation>
    </message>
    <message>
        <source>Endpoints</source>
        <translation>Endpoint</translation>
    </message>
    <message>
        <source>Endpoints created by this program:</source>
        <translation>Endpoint creati da questo programma:</translation>
    </message>
    <message>
        <source>For tests, if your own quota is not sufficient. Azure deletes such an endpoint after 168 hours.</source>
        <translation>Per prove, se la propria quota non è sufficiente. Azure elimina un tale endpoint dopo 168 ore.</translation>
    </message>
    <message>
        <source>How this program, and others, will sign in to the endpoint.</source>
        <translation>Come questo e altri programmi accederanno all&apos;endpoint.</translation>
    </message>
    <message>
        <source>How to sign in to Microsoft Entra.</source>
        <translation>Come accedere a Microsoft Entra.</translation>
    </message>
    <message>
        <source>List endpoints</source>
        <translation>Elenca endpoint</translation>
    </message>
    <message>
        <source>List the endpoints in Azure that this program created, including incomplete ones.</source>
        <translation>Elenca gli endpoint in Azure creati da questo programma, compresi quelli incompleti.</translation>
    </message>
    <message>
        <source>Machine:</source>
        <translation>Macchina:</translation>
    </message>
    <message>
        <source>Model:</source>
        <translation>Modello:</translation>
    </message>
    <message>
        <source>Select an endpoint in the list.</source>
        <translation>Selezionare un endpoint nell&apos;elenco.</translation>
    </message>
    <message>
        <source>Select an endpoint to delete it.</source>
        <translation>Selezionare un endpoint per eliminarlo.</translation>
    </message>
    <message>
        <source>Show what will be created</source>
        <translation>Mostra che cosa verrà creato</translation>
    </message>
    <message>
        <source>Show what will be created first.</source>
        <translation>Prima mostrare che cosa verrà creato.</translation>
    </message>
    <message>
        <source>Stop waiting</source>
        <translation>Smetti di attendere</translation>
    </message>
    <message>
        <source>The model that the endpoint will run.</source>
        <translation>Il modello che l&apos;endpoint eseguirà.</translation>
    </message>
    <message>
        <source>The name of your Azure Machine Learning workspace. Leave it empty if you have only one.</source>
        <translation>Il nome della propria area di lavoro di Azure Machine Learning. Lasciare vuoto se ne esiste una sola.</translation>
    </message>
    <message>
        <source>Use Azure&apos;s shared quota</source>
        <translation>Usa la quota condivisa di Azure</translation>
    </message>
    <message>
        <source>Workspace:</source>
        <translation>Area di lavoro:</translation>
    </message>
</context>
<context>
    <name>EndpointSettings</name>
    <message>
        <source> s</source>
        <translation> s</translation>
    </message>
    <message>
        <source>A PEM file of certificate authorities, if your organization uses its own.</source>
        <translation>Un file PEM con le autorità di certificazione, se l&apos;organizzazione usa le proprie.</translation>
    </message>
    <message>
        <source>A name of your choice for this endpoint.</source>
        <translation>Un nome a scelta per questo endpoint.</translation>
    </message>
    <message>
        <source>Add another endpoint.</source>
        <translation>Aggiunge un altro endpoint.</translation>
    </message>
    <message>
        <source>Add it to your endpoints.</source>
        <translation>Lo aggiunge ai propri endpoint.</translation>
    </message>
    <message>
        <source>Allow an unencrypted connection</source>
        <translation>Consenti una connessione non cifrata</translation>
    </message>
    <message>
        <source>Allow http to another computer. Anybody on the network could read the images.</source>
        <translation>Consente http verso un altro computer. Chiunque sulla rete potrebbe leggere le immagini.</translation>
    </message>
    <message>
        <source>Allowed hosts</source>
        <translation>Host consentiti</translation>
    </message>
    <message>
        <source>Allowed hosts:</source>
        <translation>Host consentiti:</translation>
    </message>
    <message>
        <source>Ask again before anything is sent to this host.</source>
        <translation>Chiede di nuovo prima di inviare qualcosa a questo host.</translation>
    </message>
    <message>
        <source>Attempts:</source>
        <translation>Tentativi:</translation>
    </message>
    <message>
        <source>Certificates:</source>
        <translation>Certificati:</translation>
    </message>
    <message>
        <source>Choose the file.</source>
        <translation>Sceglie il file.</translation>
    </message>
    <message>
        <source>Connection timeout:</source>
        <translation>Tempo massimo di connessione:</translation>
    </message>
    <message>
        <source>Create an endpoint in your own Azure subscription, or delete one that you created. The cost is shown first.</source>
        <translation>Crea un endpoint nella propria sottoscrizione di Azure, o elimina un endpoint creato in precedenza. Prima viene mostrato il costo.</translation>
    </message>
    <message>
        <source>Deploy a new endpoint…</source>
        <translation>Distribuisci un nuovo endpoint…</translation>
    </message>
    <message>
        <source>Deployment:</source>
        <translation>Distribuzione:</translation>
    </message>
    <message>
        <source>Endpoints found</source>
        <translation>Endpoint trovati</translation>
    </message>
    <message>
        <source>Export your endpoints to a file for others. It does not contain keys.</source>
        <translation>Esporta gli endpoint in un file per altre persone. Il file non contiene chiavi.</translation>
    </message>
    <message>
        <source>Export…</source>
        <translation>Esporta…</translation>
    </message>
    <message>
        <source>Find my endpoints</source>
        <translation>Trova i miei endpoint</translation>
    </message>
    <message>
        <source>Find my endpoints in Azure</source>
        <translation>Trova i miei endpoint in Azure</translation>
    </message>
    <message>
        <source>Forget the sign-in and all keys typed since Slicer was started.</source>
        <translation>Dimentica l&apos;accesso e tutte le chiavi digitate dall&apos;avvio di Slicer.</translation>
    </message>
    <message>
        <source>How long to wait for the connection, in seconds.</source>
        <translation>Quanto attendere la connessione, in secondi.</translation>
    </message>
    <message>
        <source>How long to wait for the model&apos;s response, in seconds.</source>
        <translation>Quanto attendere la risposta del modello, in secondi.</translation>
    </message>
    <message>
        <source>How many times a request is sent at most, including the first.</source>
        <translation>Quante volte al massimo viene inviata una richiesta, compresa la prima.</translation>
    </message>
    <message>
        <source>How to sign in to Microsoft Entra.</source>
        <translation>Come accedere a Microsoft Entra.</translation>
    </message>
    <message>
        <source>How you sign in to the endpoint.</source>
        <translation>Come si accede all&apos;endpoint.</translation>
    </message>
    <message>
        <source>Import endpoints from a file. Keys and consents are not part of it.</source>
        <translation>Importa endpoint da un file. Chiavi e consensi non ne fanno parte.</translation>
    </message>
    <message>
        <source>Import…</source>
        <translation>Importa…</translation>
    </message>
    <message>
        <source>Keep a log of requests</source>
        <translation>Tieni un registro delle richieste</translation>
    </message>
    <message>
        <source>Keep in this computer&apos;s keyring</source>
        <translation>Conserva nel portachiavi di questo computer</translation>
    </message>
    <message>
        <source>Key:</source>
        <translation>Chiave:</translation>
    </message>
    <message>
        <source>Leave empty to let the endpoint choose.</source>
        <translation>Lasciare vuoto per far scegliere all&apos;endpoint.</translation>
    </message>
    <message>
        <source>Lists the endpoints that your Azure account can access. Nothing is changed in Azure. To create an endpoint, press Deploy a new endpoint.</source>
        <translation>Elenca gli endpoint a cui il proprio account Azure può accedere. In Azure non cambia nulla. Per creare un endpoint, premere Distribuisci un nuovo endpoint.</translation>
    </message>
    <message>
        <source>Model:</source>
        <translation>Modello:</translation>
    </message>
    <message>
        <source>More</source>
        <translation>Altro</translation>
    </message>
    <message>
        <source>Name:</source>
        <translation>Nome:</translation>
    </message>
    <message>
        <source>New</source>
        <translation>Nuovo</translation>
    </message>
    <message>
        <source>One line per request: time, host, model, number of bytes and a checksum. No image, no prompt, no key.</source>
        <translation>Una riga per richiesta: ora, host, modello, numero di byte e una somma di controllo. Nessuna immagine, nessun prompt, nessuna chiave.</translation>
    </message>
    <message>
        <source>Open the log</source>
        <translation>Apri il registro</translation>
    </message>
    <message>
        <source>Proxy:</source>
        <translation>Proxy:</translation>
    </message>
    <message>
        <source>Remove</source>
        <translation>Rimuovi</translation>
    </message>
    <message>
        <source>Remove this endpoint and its key.</source>
        <translation>Rimuove questo endpoint e la sua chiave.</translation>
    </message>
    <message>
        <source>Request format:</source>
        <translation>Formato delle richieste:</translation>
    </message>
    <message>
        <source>Response timeout:</source>
        <translation>Tempo massimo di risposta:</translation>
    </message>
    <message>
        <source>Save</source>
        <translation>Salva</translation>
    </message>
    <message>
        <source>Save this endpoint.</source>
        <translation>Salva questo endpoint.</translation>
    </message>
    <message>
        <source>Sign in with:</source>
        <translation>Accedi con:</translation>
    </message>
    <message>
        <source>Sign out</source>
        <translation>Esci</translation>
    </message>
    <message>
        <source>Sign-in:</source>
        <translation>Accesso:</translation>
    </message>
    <message>
        <source>Tenant:</source>
        <translation>Tenant:</translation>
    </message>
    <message>
        <source>The address of a proxy server, without user name and password.</source>
        <translation>L&apos;indirizzo di un server proxy, senza nome utente e password.</translation>
    </message>
    <message>
        <source>The format of requests. Automatic chooses the format by the end of the URL.</source>
        <translation>Il formato delle richieste. Automatico sceglie il formato in base alla fine dell&apos;URL.</translation>
    </message>
    <message>
        <source>The model that runs at this endpoint.</source>
        <translation>Il modello in esecuzione su questo endpoint.</translation>
    </message>
    <message>
        <source>The scoring URL, as the endpoint&apos;s page in Azure ML studio shows it.</source>
        <translation>L&apos;URL di assegnazione dei punteggi (scoring URL), come indicato nella pagina dell&apos;endpoint in Azure ML studio.</translation>
    </message>
    <message>
        <source>URL:</source>
        <translation>URL:</translation>
    </message>
    <message>
        <source>Use this endpoint</source>
        <translation>Usa questo endpoint</translation>
    </message>
    <message>
        <source>What leaves this computer</source>
        <translation>Che cosa esce da questo computer</translation>
    </message>
    <message>
        <source>Withdraw</source>
        <translation>Ritira</translation>
    </message>
    <message>
        <source>You will be asked to sign in at the next connection test or run.</source>
        <translation>Verrà chiesto di accedere alla prossima prova di connessione o esecuzione.</translation>
    </message>
    <message>
        <source>Your organization&apos;s tenant, if you belong to several organizations.</source>
        <translation>Il tenant della propria organizzazione, se si appartiene a più organizzazioni.</translation>
    </message>
    <message>
        <source>chosen by the endpoint</source>
        <translation>scelta dall&apos;endpoint</translation>
    </message>
    <message>
        <source>default tenant</source>
        <translation>tenant predefinito</translation>
    </message>
    <message>
        <source>https://name.region.inference.ml.azure.com/score</source>
        <translation>https://name.region.inference.ml.azure.com/score</translation>
    </message>
    <message>
        <source>system certificates</source>
        <translation>certificati di sistema</translation>
    </message>
    <message>
        <source>system proxy</source>
        <translation>proxy di sistema</translation>
    </message>
    <message>
        <source>…</source>
        <translation>…</translation>
    </message>
</context>
<context>
    <name>MedImageParse</name>
    <message>
        <source>1. Endpoint:</source>
        <translation>1. Endpoint:</translation>
    </message>
    <message>
        <source>2. Volume:</source>
        <translation>2. Volume:</translation>
    </message>
    <message>
        <source>3. What to segment:</source>
        <translation>3. Che cosa segmentare:</translation>
    </message>
    <message>
        <source>Add or change endpoints, sign in, and see what leaves this computer.</source>
        <translation>Aggiungere o modificare gli endpoint, accedere, e vedere che cosa esce da questo computer.</translation>
    </message>
    <message>
        <source>Apply the suggestion.</source>
        <translation>Applica il suggerimento.</translation>
    </message>
    <message>
        <source>Browse…</source>
        <translation>Sfoglia…</translation>
    </message>
    <message>
        <source>Cancel</source>
        <translation>Annulla</translation>
    </message>
    <message>
        <source>Cancel this run. No segment is added. (Esc)</source>
        <translation>Interrompe questa esecuzione. Non viene aggiunto alcun segmento. (Esc)</translation>
    </message>
    <message>
        <source>Choose from the known targets by body region and modality.</source>
        <translation>Scegliere tra le strutture note per regione del corpo e modalità.</translation>
    </message>
    <message>
        <source>Click a finished image to show it with its segments.</source>
        <translation>Fare clic su un&apos;immagine terminata per mostrarla con i suoi segmenti.</translation>
    </message>
    <message>
        <source>Copy</source>
        <translation>Copia</translation>
    </message>
    <message>
        <source>Copy the message and the request identifier, for the endpoint&apos;s administrator.</source>
        <translation>Copia il messaggio e l&apos;identificatore della richiesta, per l&apos;amministratore dell&apos;endpoint.</translation>
    </message>
    <message>
        <source>Copy the results, or add them to the scene as a table.</source>
        <translation>Copia i risultati, o li aggiunge alla scena come tabella.</translation>
    </message>
    <message>
        <source>Correct the segments with the Segment Editor&apos;s own tools.</source>
        <translation>Corregge i segmenti con gli strumenti del Segment Editor.</translation>
    </message>
    <message>
        <source>Create a synthetic CT to try things out. Nothing is downloaded.</source>
        <translation>Crea una TC sintetica per fare delle prove. Non viene scaricato nulla.</translation>
    </message>
    <message>
        <source>Delete</source>
        <translation>Elimina</translation>
    </message>
    <message>
        <source>Do what is needed before a run.</source>
        <translation>Esegue ciò che serve prima di un&apos;esecuzione.</translation>
    </message>
    <message>
        <source>Existing names:</source>
        <translation>Nomi esistenti:</translation>
    </message>
    <message>
        <source>First slice</source>
        <translation>Prima sezione</translation>
    </message>
    <message>
        <source>First slice. Slices are counted from 0 in the order of the file.</source>
        <translation>Prima sezione. Le sezioni si contano da 0, nell&apos;ordine del file.</translation>
    </message>
    <message>
        <source>Highest value</source>
        <translation>Valore massimo</translation>
    </message>
    <message>
        <source>How slices are rotated before they are sent.</source>
        <translation>Come vengono ruotate le sezioni prima dell&apos;invio.</translation>
    </message>
    <message>
        <source>Images</source>
        <translation>Immagini</translation>
    </message>
    <message>
        <source>Last slice</source>
        <translation>Ultima sezione</translation>
    </message>
    <message>
        <source>Last slice, included.</source>
        <translation>Ultima sezione, inclusa.</translation>
    </message>
    <message>
        <source>Load sample</source>
        <translation>Carica esempio</translation>
    </message>
    <message>
        <source>Lowest value</source>
        <translation>Valore minimo</translation>
    </message>
    <message>
        <source>MedImageParse</source>
        <translation>MedImageParse</translation>
    </message>
    <message>
        <source>MedImageParse 3D gives each voxel to one prompt. Send overlapping targets, such as kidney and left kidney, separately.</source>
        <translation>MedImageParse 3D assegna ogni voxel a un solo prompt. Inviare separatamente le strutture che si sovrappongono, per esempio rene e rene sinistro.</translation>
    </message>
    <message>
        <source>Names of structures, one per line or separated by &amp;, such as liver, left kidney or lung nodule. Press Ctrl+Enter to run.</source>
        <translation>Nomi di strutture in inglese, uno per riga o separati da &amp;, per esempio liver, left kidney o lung nodule. Premere Ctrl+Invio per eseguire.</translation>
    </message>
    <message>
        <source>New segmentation</source>
        <translation>Nuova segmentazione</translation>
    </message>
    <message>
        <source>Not tested.</source>
        <translation>Non provato.</translation>
    </message>
    <message>
        <source>One segment for each prompt, or one for each separate structure of it: &quot;liver tumor 1&quot; is the largest.</source>
        <translation>Un segmento per ogni prompt, o uno per ogni sua struttura separata: &quot;liver tumor 1&quot; è la più grande.</translation>
    </message>
    <message>
        <source>One structure per line, such as
liver
left kidney</source>
        <translation>Una struttura per riga, per esempio
liver
left kidney</translation>
    </message>
    <message>
        <source>Options</source>
        <translation>Opzioni</translation>
    </message>
    <message>
        <source>Overlap:</source>
        <translation>Sovrapposizione:</translation>
    </message>
    <message>
        <source>Presets</source>
        <translation>Predefiniti</translation>
    </message>
    <message>
        <source>Preview:</source>
        <translation>Anteprima:</translation>
    </message>
    <message>
        <source>Prompts of earlier runs.</source>
        <translation>Prompt delle esecuzioni precedenti.</translation>
    </message>
    <message>
        <source>Prompts per request:</source>
        <translation>Prompt per richiesta:</translation>
    </message>
    <message>
        <source>Range:</source>
        <translation>Intervallo:</translation>
    </message>
    <message>
        <source>Recent</source>
        <translation>Recenti</translation>
    </message>
    <message>
        <source>Redo</source>
        <translation>Rifai</translation>
    </message>
    <message>
        <source>Region:</source>
        <translation>Regione:</translation>
    </message>
    <message>
        <source>Repeat the last run with a separate request for each target.</source>
        <translation>Ripete l&apos;ultima esecuzione con una richiesta separata per ogni struttura.</translation>
    </message>
    <message>
        <source>Run</source>
        <translation>Esegui</translation>
    </message>
    <message>
        <source>Run on several images: all loaded volumes, the series of the DICOM database, or all frames of a sequence.</source>
        <translation>Esegue su più immagini: tutti i volumi caricati, le serie del database DICOM o tutti i fotogrammi di una sequenza.</translation>
    </message>
    <message>
        <source>Run on…</source>
        <translation>Esegui su…</translation>
    </message>
    <message>
        <source>Runs</source>
        <translation>Esecuzioni</translation>
    </message>
    <message>
        <source>Runs into this segmentation. Choose one to run it again.</source>
        <translation>Esecuzioni in questa segmentazione. Sceglierne una per eseguirla di nuovo.</translation>
    </message>
    <message>
        <source>Saved lists of targets.</source>
        <translation>Elenchi salvati di strutture.</translation>
    </message>
    <message>
        <source>Save…</source>
        <translation>Salva…</translation>
    </message>
    <message>
        <source>Segment Editor</source>
        <translation>Segment Editor</translation>
    </message>
    <message>
        <source>Segment:</source>
        <translation>Segmenta:</translation>
    </message>
    <message>
        <source>Segmentation:</source>
        <translation>Segmentazione:</translation>
    </message>
    <message>
        <source>Segments</source>
        <translation>Segmenti</translation>
    </message>
    <message>
        <source>Segments:</source>
        <translation>Segmenti:</translation>
    </message>
    <message>
        <source>Select a volume</source>
        <translation>Selezionare un volume</translation>
    </message>
    <message>
        <source>Send a small synthetic image, never your own, and show the endpoint&apos;s response.</source>
        <translation>Invia una piccola immagine artificiale, mai un&apos;immagine propria, e mostra la risposta dell&apos;endpoint.</translation>
    </message>
    <message>
        <source>Send only the part of the volume inside this region of interest. For a rotated region, the box around it is sent.</source>
        <translation>Invia solo la parte del volume dentro questa regione di interesse. Per una regione ruotata viene inviato il parallelepipedo che la racchiude.</translation>
    </message>
    <message>
        <source>Settings…</source>
        <translation>Impostazioni…</translation>
    </message>
    <message>
        <source>Show the segments in the 3D view.</source>
        <translation>Mostra i segmenti nella vista 3D.</translation>
    </message>
    <message>
        <source>Slabs:</source>
        <translation>Blocchi:</translation>
    </message>
    <message>
        <source>Slice orientation:</source>
        <translation>Orientamento delle sezioni:</translation>
    </message>
    <message>
        <source>Slices:</source>
        <translation>Sezioni:</translation>
    </message>
    <message>
        <source>Start a demo endpoint on this computer. It needs no account. It is not MedImageParse.</source>
        <translation>Avvia un endpoint dimostrativo su questo computer. Non richiede un account. Non è MedImageParse.</translation>
    </message>
    <message>
        <source>Start local demo</source>
        <translation>Avvia demo locale</translation>
    </message>
    <message>
        <source>Table</source>
        <translation>Tabella</translation>
    </message>
    <message>
        <source>Tall volumes are sent in several parts (slabs) if the model could misread their orientation, or if the request would be too large.</source>
        <translation>I volumi alti vengono inviati in più parti (blocchi) se il modello potrebbe sbagliarne l&apos;orientamento, o se la richiesta sarebbe troppo grande.</translation>
    </message>
    <message>
        <source>Targets of the runs that have no segment.</source>
        <translation>Strutture delle esecuzioni che non hanno un segmento.</translation>
    </message>
    <message>
        <source>Targets without a segment</source>
        <translation>Strutture senza segmento</translation>
    </message>
    <message>
        <source>Test connection</source>
        <translation>Prova connessione</translation>
    </message>
    <message>
        <source>The endpoint that the image is sent to.</source>
        <translation>L&apos;endpoint a cui viene inviata l&apos;immagine.</translation>
    </message>
    <message>
        <source>The intensity range that is sent, from black to white.</source>
        <translation>L&apos;intervallo di intensità inviato, dal nero al bianco.</translation>
    </message>
    <message>
        <source>The models are Microsoft&apos;s: &lt;a href=&quot;https://doi.org/10.1038/s41592-024-02499-w&quot;&gt;MedImageParse&lt;/a&gt; (Zhao et al., Nature Methods 2025), &lt;a href=&quot;https://arxiv.org/abs/2410.06542&quot;&gt;MedImageInsight&lt;/a&gt; (Codella et al., 2024).</source>
        <translation>I modelli sono di Microsoft: &lt;a href=&quot;https://doi.org/10.1038/s41592-024-02499-w&quot;&gt;MedImageParse&lt;/a&gt; (Zhao et al., Nature Methods 2025), &lt;a href=&quot;https://arxiv.org/abs/2410.06542&quot;&gt;MedImageInsight&lt;/a&gt; (Codella et al., 2024).</translation>
    </message>
    <message>
        <source>The plane is that of the slice view in which the mouse pointer was last.</source>
        <translation>Il piano è quello della vista in sezione in cui si trovava per ultimo il puntatore del mouse.</translation>
    </message>
    <message>
        <source>The segmentation that the new segments are added to.</source>
        <translation>La segmentazione a cui vengono aggiunti i nuovi segmenti.</translation>
    </message>
    <message>
        <source>The segments. Click a name to go to the segment, double-click it to change it.</source>
        <translation>I segmenti. Fare clic su un nome per andare al segmento, doppio clic per modificarlo.</translation>
    </message>
    <message>
        <source>The slice as it will be sent.</source>
        <translation>La sezione come verrà inviata.</translation>
    </message>
    <message>
        <source>The volume to segment.</source>
        <translation>Il volume da segmentare.</translation>
    </message>
    <message>
        <source>The whole volume with MedImageParse 3D, or slices of it with MedImageParse.</source>
        <translation>Il volume intero con MedImageParse 3D, o sue sezioni con MedImageParse.</translation>
    </message>
    <message>
        <source>This value and everything above it is sent as white.</source>
        <translation>Questo valore e tutti quelli superiori vengono inviati come bianco.</translation>
    </message>
    <message>
        <source>This value and everything below it is sent as black.</source>
        <translation>Questo valore e tutti quelli inferiori vengono inviati come nero.</translation>
    </message>
    <message>
        <source>Type what you want to see, for example &lt;i&gt;liver &amp;amp; spleen&lt;/i&gt;, and get segments. The image goes to the MedImageParse or MedImageParse 3D endpoint that you choose, or to a demo engine on this computer. The second tab finds similar images with MedImageInsight. Not for clinical use.</source>
        <translation>Digitare ciò che si vuole vedere, per esempio &lt;i&gt;liver &amp;amp; spleen&lt;/i&gt;, e ottenere segmenti. L&apos;immagine viene inviata all&apos;endpoint MedImageParse o MedImageParse 3D scelto, o a un motore dimostrativo su questo computer. La seconda scheda trova immagini simili con MedImageInsight. Non per uso clinico.</translation>
    </message>
    <message>
        <source>Undo</source>
        <translation>Annulla</translation>
    </message>
    <message>
        <source>What happens when a segment of the same name already exists.</source>
        <translation>Che cosa succede quando esiste già un segmento con lo stesso nome.</translation>
    </message>
    <message>
        <source>What happens where a new segment overlaps an existing one.</source>
        <translation>Che cosa succede dove un nuovo segmento si sovrappone a uno esistente.</translation>
    </message>
    <message>
        <source>Whole volume</source>
        <translation>Volume intero</translation>
    </message>
    <message>
        <source>Window:</source>
        <translation>Finestra:</translation>
    </message>
    <message>
        <source>to</source>
        <translation>a</translation>
    </message>
</context>
<context>
    <name>MedImageParseLib</name>
    <message>
        <source> (also {listed})</source>
        <translation> (anche {listed})</translation>
    </message>
    <message>
        <source> (it takes the permission {action})</source>
        <translation> (richiede l&apos;autorizzazione {action})</translation>
    </message>
    <message>
        <source> It was to be deleted by {delete_by}.</source>
        <translation> Doveva essere eliminato entro il {delete_by}.</translation>
    </message>
    <message>
        <source> The container&apos;s last line was: {last}.</source>
        <translation> L&apos;ultima riga del contenitore era: {last}.</translation>
    </message>
    <message>
        <source> after {received:,} of {expected:,} bytes</source>
        <translation> dopo {received:,} di {expected:,} byte</translation>
    </message>
    <message>
        <source> and more</source>
        <translation> e altre</translation>
    </message>
    <message>
        <source> later</source>
        <translation> più tardi</translation>
    </message>
    <message>
        <source> only in {duration}</source>
        <translation> solo tra {duration}</translation>
    </message>
    <message>
        <source> over plain http</source>
        <translation> su http semplice</translation>
    </message>
    <message>
        <source> since {made}</source>
        <translation> dal {made}</translation>
    </message>
    <message>
        <source> through the proxy {proxy}</source>
        <translation> attraverso il proxy {proxy}</translation>
    </message>
    <message>
        <source> titled “{title}”</source>
        <translation> intitolata “{title}”</translation>
    </message>
    <message>
        <source> to {location}</source>
        <translation> verso {location}</translation>
    </message>
    <message>
        <source> {duration} ago</source>
        <translation> {duration} fa</translation>
    </message>
    <message>
        <source>&quot;{auth}&quot; is not a way to sign in: choose one of {listed}.</source>
        <translation>&quot;{auth}&quot; non è un modo di accedere: scegliere uno tra {listed}.</translation>
    </message>
    <message>
        <source>&quot;{combine}&quot; is no way to combine; use one of {listed}.</source>
        <translation>&quot;{combine}&quot; non è un modo di combinare; usare uno tra {listed}.</translation>
    </message>
    <message>
        <source>&quot;{kind}&quot; is no region; use one of roi, view and segment.</source>
        <translation>&quot;{kind}&quot; non è una regione; usare roi, view o segment.</translation>
    </message>
    <message>
        <source>&quot;{local_demo}&quot; always stays on this computer: give another endpoint another name.</source>
        <translation>&quot;{local_demo}&quot; resta sempre su questo computer: dare un altro nome a un altro endpoint.</translation>
    </message>
    <message>
        <source>&quot;{local_demo}&quot; is built in and cannot be removed.</source>
        <translation>&quot;{local_demo}&quot; è predefinito e non può essere rimosso.</translation>
    </message>
    <message>
        <source>&quot;{method}&quot; is not a way to sign in to Entra: choose one of {listed}.</source>
        <translation>&quot;{method}&quot; non è un modo di accedere a Entra: scegliere uno tra {listed}.</translation>
    </message>
    <message>
        <source>&quot;{name}&quot; sends to {place}{how}: use it only if you know that host.</source>
        <translation>&quot;{name}&quot; invia a {place}{how}: usarlo solo se si conosce questo host.</translation>
    </message>
    <message>
        <source>&quot;{name}&quot; uses {listed}, because you trust it.</source>
        <translation>&quot;{name}&quot; usa {listed}, perché lo si considera attendibile.</translation>
    </message>
    <message>
        <source>&quot;{old}&quot; is built in and stays as it is, so the imported one is called &quot;{name}&quot;.</source>
        <translation>&quot;{old}&quot; è predefinito e resta com&apos;è, quindi quello importato si chiama &quot;{name}&quot;.</translation>
    </message>
    <message>
        <source>&quot;{old}&quot; was replaced.</source>
        <translation>&quot;{old}&quot; è stato sostituito.</translation>
    </message>
    <message>
        <source>&quot;{old}&quot; was taken, so the imported one is called &quot;{name}&quot;.</source>
        <translation>&quot;{old}&quot; era già in uso, quindi quello importato si chiama &quot;{name}&quot;.</translation>
    </message>
    <message>
        <source>&quot;{onexisting}&quot; is no rule for names that are there already; use one of {listed}.</source>
        <translation>&quot;{onexisting}&quot; non è una regola per i nomi già presenti; usare una tra {listed}.</translation>
    </message>
    <message>
        <source>&quot;{overlap}&quot; is no overlap rule; use one of {listed}.</source>
        <translation>&quot;{overlap}&quot; non è una regola di sovrapposizione; usare una tra {listed}.</translation>
    </message>
    <message>
        <source>&quot;{quote}&quot; is no setting to trust: choose from {listed}.</source>
        <translation>&quot;{quote}&quot; non è un&apos;impostazione di attendibilità: scegliere tra {listed}.</translation>
    </message>
    <message>
        <source>&quot;{subscription_id}&quot; is not a subscription id: give the id, not the name.</source>
        <translation>&quot;{subscription_id}&quot; non è un ID di sottoscrizione: indicare l&apos;ID, non il nome.</translation>
    </message>
    <message>
        <source>&apos;{name}&apos; cannot be the name of an engine that is added: use small letters, digits and dashes (--name).</source>
        <translation>&apos;{name}&apos; non può essere il nome di un motore aggiunto: usare lettere minuscole, cifre e trattini (--name).</translation>
    </message>
    <message>
        <source>&apos;{name}&apos; is not the name of an endpoint.</source>
        <translation>&apos;{name}&apos; non è il nome di un endpoint.</translation>
    </message>
    <message>
        <source>&apos;{person}&apos; is not an object id: find it in the Entra admin center under Users (a form such as 00000000-0000-0000-0000-000000000000).</source>
        <translation>&apos;{person}&apos; non è un ID oggetto: si trova nell&apos;interfaccia di amministrazione di Entra, sotto Utenti (una forma come 00000000-0000-0000-0000-000000000000).</translation>
    </message>
    <message>
        <source>(none)</source>
        <translation>(nessuno)</translation>
    </message>
    <message>
        <source>, and whether it should begin with https</source>
        <translation>, e se debba iniziare con https</translation>
    </message>
    <message>
        <source>, stored as {name}</source>
        <translation>, memorizzati come {name}</translation>
    </message>
    <message>
        <source>, stored in the private transfer syntax {syntax}</source>
        <translation>, memorizzati nella sintassi di trasferimento privata {syntax}</translation>
    </message>
    <message>
        <source>, trusting the certificates in {ca_bundle}</source>
        <translation>, accettando i certificati in {ca_bundle}</translation>
    </message>
    <message>
        <source>, which “{issuer}” issued,</source>
        <translation>, emesso da “{issuer}”,</translation>
    </message>
    <message>
        <source>, {count} have lost a path or thumbnail</source>
        <translation>, {count} hanno perso un percorso o una miniatura</translation>
    </message>
    <message>
        <source>1 of {total} files of the series cannot be read (empty, cut off or damaged) and is missing from the volume: {named}.</source>
        <translation>1 dei {total} file della serie non può essere letto (vuoto, troncato o danneggiato) e manca dal volume: {named}.</translation>
    </message>
    <message>
        <source>1 overview image was left out of the volume: {named}.</source>
        <translation>1 immagine panoramica è stata esclusa dal volume: {named}.</translation>
    </message>
    <message>
        <source>424, the model&apos;s status {status}{reason}</source>
        <translation>424, lo stato del modello è {status}{reason}</translation>
    </message>
    <message>
        <source>; about {seconds_a_slice:g} s a slice and prompt here: this program waits for its replies accordingly, other clients need a long timeout</source>
        <translation>; qui circa {seconds_a_slice:g} s per sezione e prompt: questo programma ne tiene conto nell&apos;attesa, altri client richiedono un tempo massimo lungo</translation>
    </message>
    <message>
        <source>; choose one with --frame 0 to {shape}</source>
        <translation>; sceglierne uno con --frame da 0 a {shape}</translation>
    </message>
    <message>
        <source>A 2D picture cannot go to MedImageParse 3D; use the model medimageparse for it.</source>
        <translation>Un&apos;immagine 2D non può essere inviata a MedImageParse 3D; usare per essa il modello medimageparse.</translation>
    </message>
    <message>
        <source>A DICOM image states directions that make no sense; export the series again.</source>
        <translation>Un&apos;immagine DICOM indica direzioni prive di senso; esportare di nuovo la serie.</translation>
    </message>
    <message>
        <source>A cropped mask is not stored as a full array, so numpy cannot have it without a copy.</source>
        <translation>Una maschera ritagliata non è memorizzata come array completo, quindi numpy non può averla senza una copia.</translation>
    </message>
    <message>
        <source>A device code has to be shown to a person, and nobody is there to see it: use another way to sign in.</source>
        <translation>Un codice dispositivo va mostrato a una persona, e nessuno è presente per vederlo: usare un altro modo di accedere.</translation>
    </message>
    <message>
        <source>A frame is its number, counted from 0, or all.</source>
        <translation>Un fotogramma si indica con il suo numero, contato da 0, oppure con all.</translation>
    </message>
    <message>
        <source>A frame is taken of an image with several volumes; of an array give the one volume itself, array[frame].</source>
        <translation>Un fotogramma si prende da un&apos;immagine con più volumi; di un array indicare direttamente il volume, array[frame].</translation>
    </message>
    <message>
        <source>A job runs once; make a new one.</source>
        <translation>Un lavoro viene eseguito una sola volta; crearne uno nuovo.</translation>
    </message>
    <message>
        <source>A job&apos;s own step cannot wait for another job; give a callback instead.</source>
        <translation>Un passo di un lavoro non può attendere un altro lavoro; indicare invece una funzione di richiamo.</translation>
    </message>
    <message>
        <source>A key is never sent over plain http, where anyone on the way can read it: use https for {place}, or sign-in none.</source>
        <translation>Una chiave non viene mai inviata su http semplice, dove chiunque lungo il percorso può leggerla: usare https per {place}, o accesso none.</translation>
    </message>
    <message>
        <source>A key or token would leave this computer for {host}{way}, and nobody has agreed to that yet: {agree}.</source>
        <translation>Una chiave o un token uscirebbe da questo computer verso {host}{way}, e nessuno ha ancora dato il consenso: {agree}.</translation>
    </message>
    <message>
        <source>A label cannot be kept in an index: {wrong}.</source>
        <translation>Un&apos;etichetta non può essere conservata in un indice: {wrong}.</translation>
    </message>
    <message>
        <source>A label is empty; give each a name.</source>
        <translation>Un&apos;etichetta è vuota; dare un nome a ciascuna.</translation>
    </message>
    <message>
        <source>A label is empty; take it out.</source>
        <translation>Un&apos;etichetta è vuota; toglierla.</translation>
    </message>
    <message>
        <source>A labelmap holds whole numbers from 0 to 65535 only.</source>
        <translation>Una mappa di etichette contiene solo numeri interi da 0 a 65535.</translation>
    </message>
    <message>
        <source>A line end inside a prompt was taken for a separator; join prompts with &quot; &amp; &quot;.</source>
        <translation>Una fine di riga dentro un prompt è stata presa per un separatore; unire i prompt con &quot; &amp; &quot;.</translation>
    </message>
    <message>
        <source>A linear adapter has no feature vectors; train one of the kind network.</source>
        <translation>Un adattatore lineare non ha vettori di caratteristiche; addestrarne uno di tipo network.</translation>
    </message>
    <message>
        <source>A list of Azure Resource Manager goes in circles; what was read so far is used.</source>
        <translation>Un elenco di Azure Resource Manager si ripete in circolo; viene usato ciò che è stato letto finora.</translation>
    </message>
    <message>
        <source>A map needs at least one vector, with finite numbers only.</source>
        <translation>Una mappa richiede almeno un vettore, con soli numeri finiti.</translation>
    </message>
    <message>
        <source>A numpy array alone does not say where it lies in the patient; {taken}.</source>
        <translation>Un array numpy da solo non dice dove si trova nel paziente; {taken}.</translation>
    </message>
    <message>
        <source>A path is to be read first; {taken}.</source>
        <translation>Un percorso va prima letto; {taken}.</translation>
    </message>
    <message>
        <source>A preset&apos;s name is one word of letters, digits, dots, plus and minus signs, of at most 60 characters.</source>
        <translation>Il nome di un predefinito è una parola di lettere, cifre, punti, segni più e meno, di al massimo 60 caratteri.</translation>
    </message>
    <message>
        <source>A profile has to be a JSON object with at least a name and a url.</source>
        <translation>Un profilo deve essere un oggetto JSON con almeno name e url.</translation>
    </message>
    <message>
        <source>A profile needs a name of 1 to 100 printable characters.</source>
        <translation>Un profilo richiede un nome da 1 a 100 caratteri stampabili.</translation>
    </message>
    <message>
        <source>A proxy before {place} asks for a sign-in (407): put the proxy&apos;s name and password into HTTPS_PROXY, or ask its administrators to let {place} through.</source>
        <translation>Un proxy prima di {place} chiede un accesso (407): inserire nome e password del proxy in HTTPS_PROXY, o chiedere ai suoi amministratori di lasciar passare {place}.</translation>
    </message>
    <message>
        <source>A record cannot be kept in an index: {wrong}.</source>
        <translation>Un record non può essere conservato in un indice: {wrong}.</translation>
    </message>
    <message>
        <source>A run is still in progress in this segmentation; cancel it, or wait until it is done.</source>
        <translation>Un&apos;esecuzione è ancora in corso in questa segmentazione; interromperla o attendere che finisca.</translation>
    </message>
    <message>
        <source>A series is chosen in a DICOM folder; an image in memory has none: leave it out.</source>
        <translation>Una serie si sceglie in una cartella DICOM; un&apos;immagine in memoria non ne ha: non indicarla.</translation>
    </message>
    <message>
        <source>A study vector needs at least one slice vector, with finite numbers only.</source>
        <translation>Un vettore di studio richiede almeno un vettore di sezione, con soli numeri finiti.</translation>
    </message>
    <message>
        <source>A text to compare with is empty; give words such as &apos;x-ray chest anteroposterior pneumonia&apos;.</source>
        <translation>Un testo con cui confrontare è vuoto; indicare parole come &apos;x-ray chest anteroposterior pneumonia&apos;.</translation>
    </message>
    <message>
        <source>A token that looks like a JSON web token tells no expiry.</source>
        <translation>Un token che sembra un JSON web token non indica una scadenza.</translation>
    </message>
    <message>
        <source>A vector does not consist of numbers.</source>
        <translation>Un vettore non è composto da numeri.</translation>
    </message>
    <message>
        <source>A vector is zero or holds numbers that are not finite, so it cannot be compared; embed its image again.</source>
        <translation>Un vettore è nullo o contiene numeri non finiti, quindi non può essere confrontato; calcolare di nuovo il vettore della sua immagine.</translation>
    </message>
    <message>
        <source>Abdominal organs of AMOS in MRI</source>
        <translation>Organi addominali di AMOS in RM</translation>
    </message>
    <message>
        <source>Abdominal organs, slices of CT</source>
        <translation>Organi addominali, sezioni TC</translation>
    </message>
    <message>
        <source>Abdominal organs, slices of MRI</source>
        <translation>Organi addominali, sezioni RM</translation>
    </message>
    <message>
        <source>All the labelled images have the same label ({label}); an adapter needs at least two labels to tell apart.</source>
        <translation>Tutte le immagini etichettate hanno la stessa etichetta ({label}); un adattatore richiede almeno due etichette da distinguere.</translation>
    </message>
    <message>
        <source>All the labelled images have the same label{only}; an adapter needs at least two labels to tell apart.</source>
        <translation>Tutte le immagini etichettate hanno la stessa etichetta{only}; un adattatore richiede almeno due etichette da distinguere.</translation>
    </message>
    <message>
        <source>Along the {plane} plane each slice of this volume is a strip of {rows} x {columns} pixels; its own slices are {own}: {choose_plane}.</source>
        <translation>Lungo il piano {plane} ogni sezione di questo volume è una striscia di {rows} x {columns} pixel; le sue sezioni proprie sono {own}: {choose_plane}.</translation>
    </message>
    <message>
        <source>An RT structure set of a multi-frame file is not written here; write --dicom-seg instead.</source>
        <translation>Un RT structure set di un file con più fotogrammi non viene scritto qui; usare invece --dicom-seg.</translation>
    </message>
    <message>
        <source>An adapter is linear or network, not &apos;{kind}&apos;.</source>
        <translation>Un adattatore è linear o network, non &apos;{kind}&apos;.</translation>
    </message>
    <message>
        <source>An adapter is measured on test, new or all, not on &apos;{part}&apos;.</source>
        <translation>Un adattatore si misura su test, new o all, non su &apos;{part}&apos;.</translation>
    </message>
    <message>
        <source>An adapter looks at each slice, or at a series by mean or statistics, not by &apos;{by}&apos;.</source>
        <translation>Un adattatore considera ogni sezione, o una serie per mean o statistics, non per &apos;{by}&apos;.</translation>
    </message>
    <message>
        <source>An index is prepared with {listed}, not with &apos;{method}&apos;.</source>
        <translation>Un indice si prepara con {listed}, non con &apos;{method}&apos;.</translation>
    </message>
    <message>
        <source>An object of the type {name} is no image that is taken here; {taken}.</source>
        <translation>Un oggetto del tipo {name} non è un&apos;immagine accettata qui; {taken}.</translation>
    </message>
    <message>
        <source>Another program is changing the profiles: close its dialog, then try again.</source>
        <translation>Un altro programma sta modificando i profili: chiudere la sua finestra, poi riprovare.</translation>
    </message>
    <message>
        <source>Answers can be kept in an index only.</source>
        <translation>Le risposte possono essere conservate solo in un indice.</translation>
    </message>
    <message>
        <source>Azure Machine Learning workspace, by name or resource id; the only one, if none is given</source>
        <translation>area di lavoro di Azure Machine Learning, per nome o ID risorsa; l&apos;unica esistente, se non ne viene indicata nessuna</translation>
    </message>
    <message>
        <source>Azure Resource Manager described a workspace without its id: try again later.</source>
        <translation>Azure Resource Manager ha descritto un&apos;area di lavoro senza il suo ID: riprovare più tardi.</translation>
    </message>
    <message>
        <source>Azure Resource Manager sent no {name} when asked for {what}: check the endpoint&apos;s sign-in mode.</source>
        <translation>Azure Resource Manager non ha inviato {name} alla richiesta di {what}: controllare la modalità di accesso dell&apos;endpoint.</translation>
    </message>
    <message>
        <source>Azure Resource Manager&apos;s list of {what} continues at another host, which is not followed: check the network and the proxy.</source>
        <translation>L&apos;elenco di Azure Resource Manager per {what} continua su un altro host, che non viene seguito: controllare la rete e il proxy.</translation>
    </message>
    <message>
        <source>Azure could not delete {what}: {words}. It may still cost money.</source>
        <translation>Azure non ha potuto eliminare {what}: {words}. Può ancora comportare costi.</translation>
    </message>
    <message>
        <source>Azure did not accept the request for {what} (status {status}): {words}</source>
        <translation>Azure non ha accettato la richiesta per {what} (stato {status}): {words}</translation>
    </message>
    <message>
        <source>Azure gave this reason</source>
        <translation>Azure ha indicato questo motivo</translation>
    </message>
    <message>
        <source>Azure gives up on a request to &quot;{name}&quot; after {timeout_s:g} s, which is short for these models: ask whoever deployed it for a request timeout of 90 to 180 s.</source>
        <translation>Azure interrompe una richiesta a &quot;{name}&quot; dopo {timeout_s:g} s, un tempo breve per questi modelli: chiedere a chi l&apos;ha distribuito un tempo massimo di richiesta da 90 a 180 s.</translation>
    </message>
    <message>
        <source>Azure is still working on {what} after {hours:g} hours: look with `deploy status {name}`, or delete it.</source>
        <translation>Azure sta ancora lavorando su {what} dopo {hours:g} ore: controllare con `deploy status {name}`, o eliminarlo.</translation>
    </message>
    <message>
        <source>Between {below} and {above} the slices leave a gap of {gap:.3g} mm, too wide to fill; give a folder with one volume.</source>
        <translation>Tra {below} e {above} le sezioni lasciano un vuoto di {gap:.3g} mm, troppo ampio da riempire; indicare una cartella con un solo volume.</translation>
    </message>
    <message>
        <source>Bones and muscles of trunk and hips</source>
        <translation>Ossa e muscoli di tronco e anche</translation>
    </message>
    <message>
        <source>Both lungs</source>
        <translation>Entrambi i polmoni</translation>
    </message>
    <message>
        <source>Both lungs, their five lobes and the trachea</source>
        <translation>Entrambi i polmoni, i loro cinque lobi e la trachea</translation>
    </message>
    <message>
        <source>Breast tumor on an ultrasound picture</source>
        <translation>Tumore della mammella in un&apos;immagine ecografica</translation>
    </message>
    <message>
        <source>Cancelled because the module was closed.</source>
        <translation>Interrotto perché il modulo è stato chiuso.</translation>
    </message>
    <message>
        <source>Cells and glands on a histology picture</source>
        <translation>Cellule e ghiandole in un&apos;immagine istologica</translation>
    </message>
    <message>
        <source>Choose a segment in the Segment Editor.</source>
        <translation>Scegliere un segmento nel Segment Editor.</translation>
    </message>
    <message>
        <source>Choose a segment: the region is the box around it.</source>
        <translation>Scegliere un segmento: la regione è il parallelepipedo che lo racchiude.</translation>
    </message>
    <message>
        <source>Choose a segmentation and the volume that it belongs to.</source>
        <translation>Scegliere una segmentazione e il volume a cui appartiene.</translation>
    </message>
    <message>
        <source>Choose a segmentation in the Segment Editor.</source>
        <translation>Scegliere una segmentazione nel Segment Editor.</translation>
    </message>
    <message>
        <source>Choose a sequence of volumes.</source>
        <translation>Scegliere una sequenza di volumi.</translation>
    </message>
    <message>
        <source>Continues with the endpoint &quot;{name}&quot; in workspace {workspace} ({location}) with {title}, version {version}, on {count} x {machine}.</source>
        <translation>Continua con l&apos;endpoint &quot;{name}&quot; nell&apos;area di lavoro {workspace} ({location}) con {title}, versione {version}, su {count} x {machine}.</translation>
    </message>
    <message>
        <source>Could not establish a secure (TLS) connection to {place}: check that the URL&apos;s port speaks https, and whether a proxy is in between.</source>
        <translation>Non è stato possibile stabilire una connessione sicura (TLS) con {place}: controllare che la porta dell&apos;URL usi https, e se c&apos;è un proxy in mezzo.</translation>
    </message>
    <message>
        <source>Creates again the failed deployment of the endpoint &quot;{name}&quot; in workspace {workspace} ({location}) with {title}, version {version}, on {count} x {machine}.</source>
        <translation>Crea di nuovo la distribuzione non riuscita dell&apos;endpoint &quot;{name}&quot; nell&apos;area di lavoro {workspace} ({location}) con {title}, versione {version}, su {count} x {machine}.</translation>
    </message>
    <message>
        <source>Creates the endpoint &quot;{name}&quot; in workspace {workspace} ({location}) with {title}, version {version}, on {count} x {machine}.</source>
        <translation>Crea l&apos;endpoint &quot;{name}&quot; nell&apos;area di lavoro {workspace} ({location}) con {title}, versione {version}, su {count} x {machine}.</translation>
    </message>
    <message>
        <source>DICOM results need DICOM input, which {name} is not; write --output or --labels instead.</source>
        <translation>I risultati DICOM richiedono un ingresso DICOM, e {name} non lo è; usare invece --output o --labels.</translation>
    </message>
    <message>
        <source>DICOM results need a DICOM file or folder as input; write --output or --labels instead.</source>
        <translation>I risultati DICOM richiedono un file o una cartella DICOM in ingresso; usare invece --output o --labels.</translation>
    </message>
    <message>
        <source>DICOM results refer to the images of a DICOM series, and this volume was not loaded from one; save labelmaps instead.</source>
        <translation>I risultati DICOM si riferiscono alle immagini di una serie DICOM, e questo volume non è stato caricato da una serie; salvare invece mappe di etichette.</translation>
    </message>
    <message>
        <source>Entra tenant, where you belong to several organizations</source>
        <translation>tenant di Entra, per chi appartiene a più organizzazioni</translation>
    </message>
    <message>
        <source>Epochs, patience, batch and width must be at least 1 (width at most 8192), and the rate between 0 and 1.</source>
        <translation>Epoche, pazienza, lotto e larghezza devono essere almeno 1 (larghezza al massimo 8192), e il tasso tra 0 e 1.</translation>
    </message>
    <message>
        <source>Every n-th slice needs n of at least 1.</source>
        <translation>Una sezione ogni n richiede n almeno 1.</translation>
    </message>
    <message>
        <source>Every voxel of the volume has the same value; nothing can be seen in it.</source>
        <translation>Tutti i voxel del volume hanno lo stesso valore; non vi si vede nulla.</translation>
    </message>
    <message>
        <source>Fetal head and symphysis on an ultrasound picture</source>
        <translation>Testa fetale e sinfisi in un&apos;immagine ecografica</translation>
    </message>
    <message>
        <source>Frame {number} of {count} failed: {error}</source>
        <translation>Il fotogramma {number} di {count} non è riuscito: {error}</translation>
    </message>
    <message>
        <source>Frame {number} of {count}: {failure}</source>
        <translation>Fotogramma {number} di {count}: {failure}</translation>
    </message>
    <message>
        <source>Give a label to narrow the search as SET=LABEL, not &apos;{wanted}&apos;.</source>
        <translation>Indicare un&apos;etichetta per restringere la ricerca come SET=LABEL, non &apos;{wanted}&apos;.</translation>
    </message>
    <message>
        <source>Give at least two labels in &quot;{name}&quot;: one alone always gets 100 %.</source>
        <translation>Indicare almeno due etichette in &quot;{name}&quot;: una sola ottiene sempre il 100 %.</translation>
    </message>
    <message>
        <source>Give at least two labels: the probabilities compare labels with one another, so one alone always gets 100 %.</source>
        <translation>Indicare almeno due etichette: le probabilità confrontano le etichette tra loro, quindi una sola ottiene sempre il 100 %.</translation>
    </message>
    <message>
        <source>Give the number of one frame: all frames at once are for segment.</source>
        <translation>Indicare il numero di un fotogramma: tutti insieme sono ammessi solo per segment.</translation>
    </message>
    <message>
        <source>Heart on an ultrasound picture</source>
        <translation>Cuore in un&apos;immagine ecografica</translation>
    </message>
    <message>
        <source>Heart, slices of MRI</source>
        <translation>Cuore, sezioni RM</translation>
    </message>
    <message>
        <source>Hippocampus, slices of MRI</source>
        <translation>Ippocampo, sezioni RM</translation>
    </message>
    <message>
        <source>Image data and a key or token would leave this computer for {host}{way}, and nobody has agreed to that yet: {agree}.</source>
        <translation>Dati di immagine e una chiave o un token uscirebbero da questo computer verso {host}{way}, e nessuno ha ancora dato il consenso: {agree}.</translation>
    </message>
    <message>
        <source>Image data would leave this computer for {host}{way}, and nobody has agreed to that yet: {agree}.</source>
        <translation>Dati di immagine uscirebbero da questo computer verso {host}{way}, e nessuno ha ancora dato il consenso: {agree}.</translation>
    </message>
    <message>
        <source>Image geometry description string determining the geometry of the labelmap that is created in course of conversion. Can be copied from a volume, using the button.</source>
        <translation>Stringa che descrive la geometria dell&apos;immagine e determina quella della mappa di etichette creata durante la conversione. Si può copiare da un volume con il pulsante.</translation>
    </message>
    <message>
        <source>Images that are the same as others at their positions were passed over ({count}): {named}.</source>
        <translation>Sono state ignorate le immagini uguali ad altre nella stessa posizione ({count}): {named}.</translation>
    </message>
    <message>
        <source>Images without a place in the patient were left out of the volume ({count}): {named}.</source>
        <translation>Le immagini senza una posizione nel paziente sono state escluse dal volume ({count}): {named}.</translation>
    </message>
    <message>
        <source>It is not known which volume these segmentations belong to; choose it.</source>
        <translation>Non si sa a quale volume appartengano queste segmentazioni; sceglierlo.</translation>
    </message>
    <message>
        <source>It went in {count} slabs ({why}).</source>
        <translation>È stato inviato in {count} blocchi ({why}).</translation>
    </message>
    <message>
        <source>Keys cannot be kept on this computer, because the package keyring is missing: install it, or keep the key in {key_variable} or a file.</source>
        <translation>Le chiavi non possono essere conservate su questo computer perché manca il pacchetto keyring: installarlo, o conservare la chiave in {key_variable} o in un file.</translation>
    </message>
    <message>
        <source>Large vessels of chest and abdomen</source>
        <translation>Grandi vasi di torace e addome</translation>
    </message>
    <message>
        <source>Learning and testing must never share one patient, and all the labelled images are of {count}: label images of at least {need} patients.</source>
        <translation>Addestramento e test non devono mai condividere un paziente, e tutte le immagini etichettate sono di {count}: etichettare immagini di almeno {need} pazienti.</translation>
    </message>
    <message>
        <source>Left out of &quot;{name}&quot;: {listed}. A file does not decide whom you trust: if you do, set it in the profile yourself.</source>
        <translation>Escluso da &quot;{name}&quot;: {listed}. Un file non decide di chi fidarsi: se la fonte è attendibile, impostarlo personalmente nel profilo.</translation>
    </message>
    <message>
        <source>List price: about {total:.2f} USD an hour, {total2:.0f} USD a day, whether it is used or not.</source>
        <translation>Prezzo di listino: circa {total:.2f} USD all&apos;ora, {total2:.0f} USD al giorno, che venga usato o no.</translation>
    </message>
    <message>
        <source>Lungs and their findings on a chest radiograph</source>
        <translation>Polmoni e loro reperti in una radiografia del torace</translation>
    </message>
    <message>
        <source>MedImageParse 3D may take another direction of a volume of {i} x {j} x {k} voxels for that of its slices, and no cut into slabs prevents it; send a region of another shape, or look at the result closely.</source>
        <translation>In un volume di {i} x {j} x {k} voxel MedImageParse 3D può scambiare un&apos;altra direzione per quella delle sezioni, e nessun taglio in blocchi lo evita; inviare una regione di altra forma oppure controllare con attenzione il risultato.</translation>
    </message>
    <message>
        <source>Microsoft Entra does not know the tenant of the sign-in with {how}: check the tenant id and the sign-in host.</source>
        <translation>Microsoft Entra non conosce il tenant dell&apos;accesso con {how}: controllare l&apos;ID del tenant e l&apos;host di accesso.</translation>
    </message>
    <message>
        <source>Microsoft Entra refused the sign-in with {how} (AADSTS{code}): give this code to your administrator.</source>
        <translation>Microsoft Entra ha rifiutato l&apos;accesso con {how} (AADSTS{code}): comunicare questo codice all&apos;amministratore.</translation>
    </message>
    <message>
        <source>Microsoft Entra refused the sign-in with {how}: {codes} (AADSTS{code}).</source>
        <translation>Microsoft Entra ha rifiutato l&apos;accesso con {how}: {codes} (AADSTS{code}).</translation>
    </message>
    <message>
        <source>Name at least one image, volume or folder to embed.</source>
        <translation>Indicare almeno un&apos;immagine, un volume o una cartella da elaborare.</translation>
    </message>
    <message>
        <source>Name at least one volume to index.</source>
        <translation>Indicare almeno un volume da indicizzare.</translation>
    </message>
    <message>
        <source>Name the engine&apos;s class in {name} behind a colon: {listed}.</source>
        <translation>Indicare la classe del motore in {name} dopo i due punti: {listed}.</translation>
    </message>
    <message>
        <source>Name the reference set: a file&apos;s name, a folder or a series that is in the index.</source>
        <translation>Indicare l&apos;insieme di riferimento: il nome di un file, una cartella o una serie presente nell&apos;indice.</translation>
    </message>
    <message>
        <source>Names that are taken can be handled by &quot;ask&quot;, &quot;rename&quot; or &quot;replace&quot;, not by &quot;{clash}&quot;.</source>
        <translation>I nomi già in uso si possono trattare con &quot;ask&quot;, &quot;rename&quot; o &quot;replace&quot;, non con &quot;{clash}&quot;.</translation>
    </message>
    <message>
        <source>No answer came from {who}: a firewall may be in the way, so check the URL, the VPN, and whether a proxy is needed.</source>
        <translation>Nessuna risposta da {who}: forse un firewall la blocca, quindi controllare l&apos;URL, la VPN e se serve un proxy.</translation>
    </message>
    <message>
        <source>No browser could be opened for the sign-in: use the device code instead.</source>
        <translation>Non è stato possibile aprire un browser per l&apos;accesso: usare invece il codice dispositivo.</translation>
    </message>
    <message>
        <source>No image has the label &apos;{label}&apos; of the set &apos;{name}&apos;; see `index labels`.</source>
        <translation>Nessuna immagine ha l&apos;etichetta &apos;{label}&apos; dell&apos;insieme &apos;{name}&apos;; vedere `index labels`.</translation>
    </message>
    <message>
        <source>No image of the index has a label of the set &apos;{name}&apos;; label some with `index label`.</source>
        <translation>Nessuna immagine dell&apos;indice ha un&apos;etichetta dell&apos;insieme &apos;{name}&apos;; etichettarne alcune con `index label`.</translation>
    </message>
    <message>
        <source>No image of the {part} part has a label that the adapter knows; label some, or measure on another part.</source>
        <translation>Nessuna immagine della parte {part} ha un&apos;etichetta nota all&apos;adattatore; etichettarne alcune, o misurare su un&apos;altra parte.</translation>
    </message>
    <message>
        <source>No prediction has the name of a reference ({reference} and {prediction}, for instance); name the files alike.</source>
        <translation>Nessuna predizione ha il nome di un riferimento ({reference} e {prediction}, per esempio); dare ai file gli stessi nomi.</translation>
    </message>
    <message>
        <source>No region of interest is shown; add one with the Markups module, or choose another region.</source>
        <translation>Nessuna regione di interesse è visibile; aggiungerne una con il modulo Markups, o scegliere un&apos;altra regione.</translation>
    </message>
    <message>
        <source>No slice view is shown; choose a layout with slice views, or another region.</source>
        <translation>Nessuna vista di sezione è visibile; scegliere una disposizione con viste di sezione, o un&apos;altra regione.</translation>
    </message>
    <message>
        <source>Nobody finished the sign-in in time: start again, and enter the code or answer the browser within its time.</source>
        <translation>Nessuno ha completato l&apos;accesso in tempo: ricominciare, e inserire il codice o rispondere nel browser entro il tempo previsto.</translation>
    </message>
    <message>
        <source>None of the default ways to sign in to Microsoft Entra worked: run `az login`, or choose the browser or a device code.</source>
        <translation>Nessuno dei modi predefiniti di accedere a Microsoft Entra ha funzionato: eseguire `az login`, o scegliere il browser o un codice dispositivo.</translation>
    </message>
    <message>
        <source>Not in the reference and not measured: {unknown}.</source>
        <translation>Non presente nel riferimento e non misurato: {unknown}.</translation>
    </message>
    <message>
        <source>Not measured: {failure}</source>
        <translation>Non misurato: {failure}</translation>
    </message>
    <message>
        <source>Not run, because the endpoint failed five times in a row.</source>
        <translation>Non eseguito, perché l&apos;endpoint ha fallito cinque volte di seguito.</translation>
    </message>
    <message>
        <source>Nothing in the index fits all the conditions; `index info` and `index labels` tell what it holds.</source>
        <translation>Nulla nell&apos;indice soddisfa tutte le condizioni; `index info` e `index labels` indicano che cosa contiene.</translation>
    </message>
    <message>
        <source>Nothing in the index is called {listed}; it holds {shown}.</source>
        <translation>Nulla nell&apos;indice si chiama {listed}; contiene {shown}.</translation>
    </message>
    <message>
        <source>Nothing is seen on any of the chosen slices of {name}; choose others, or {keep_empty_slices}.</source>
        <translation>Non si vede nulla in nessuna delle sezioni scelte di {name}; sceglierne altre, o {keep_empty_slices}.</translation>
    </message>
    <message>
        <source>Nothing is seen on any of the chosen slices; choose others, or {keep_empty_slices}.</source>
        <translation>Non si vede nulla in nessuna delle sezioni scelte; sceglierne altre, o {keep_empty_slices}.</translation>
    </message>
    <message>
        <source>Nothing listens at {who}: {check}.</source>
        <translation>Nessun server è in ascolto su {who}: {check}.</translation>
    </message>
    <message>
        <source>Nothing listens at {who}: {start_server}, or check the URL and its port.</source>
        <translation>Nessun server è in ascolto su {who}: {start_server}, o controllare l&apos;URL e la sua porta.</translation>
    </message>
    <message>
        <source>Nothing was found, and a DICOM segmentation cannot be empty, so none was written.</source>
        <translation>Non è stato trovato nulla, e una segmentazione DICOM non può essere vuota, quindi non è stata scritta.</translation>
    </message>
    <message>
        <source>Nothing was found, and a DICOM segmentation cannot be empty; {name} was not written.</source>
        <translation>Non è stato trovato nulla, e una segmentazione DICOM non può essere vuota; {name} non è stato scritto.</translation>
    </message>
    <message>
        <source>Nothing was found.</source>
        <translation>Non è stato trovato nulla.</translation>
    </message>
    <message>
        <source>Nothing was found: all that fits the conditions is left out or less similar than asked for.</source>
        <translation>Non è stato trovato nulla: tutto ciò che soddisfa le condizioni è escluso o meno simile di quanto richiesto.</translation>
    </message>
    <message>
        <source>Nothing was kept for testing, so nobody knows how good the adapter is; label images of more patients.</source>
        <translation>Nulla è stato riservato per la prova, quindi non si sa quanto sia buono l&apos;adattatore; etichettare immagini di più pazienti.</translation>
    </message>
    <message>
        <source>Only the label {label} was named, and an adapter needs at least two to tell apart; name more, or learn it as a finding (many).</source>
        <translation>È stata indicata solo l&apos;etichetta {label}, e un adattatore ne richiede almeno due da distinguere; indicarne altre, oppure apprenderla come reperto (many).</translation>
    </message>
    <message>
        <source>Optic disc and cup on a fundus photograph</source>
        <translation>Disco e coppa ottica in una fotografia del fondo oculare</translation>
    </message>
    <message>
        <source>Organs at risk in the head and neck</source>
        <translation>Organi a rischio di testa e collo</translation>
    </message>
    <message>
        <source>Outliers are found by knn, lof or forest, not by &apos;{method}&apos;.</source>
        <translation>I valori anomali si trovano con knn, lof o forest, non con &apos;{method}&apos;.</translation>
    </message>
    <message>
        <source>Outliers are ranked by slice or by study, not by &apos;{by}&apos;.</source>
        <translation>I valori anomali si ordinano per slice o per study, non per &apos;{by}&apos;.</translation>
    </message>
    <message>
        <source>Parts of a glioma</source>
        <translation>Parti di un glioma</translation>
    </message>
    <message>
        <source>Parts of a glioma, slices of MRI</source>
        <translation>Parti di un glioma, sezioni RM</translation>
    </message>
    <message>
        <source>Polyps on an endoscopic picture</source>
        <translation>Polipi in un&apos;immagine endoscopica</translation>
    </message>
    <message>
        <source>Profile &quot;{data}&quot;: {name} has to be {kind_words}.</source>
        <translation>Profilo &quot;{data}&quot;: {name} deve essere {kind_words}.</translation>
    </message>
    <message>
        <source>Profile &quot;{name}&quot;</source>
        <translation>Profilo &quot;{name}&quot;</translation>
    </message>
    <message>
        <source>Quota: it takes {needed} cores, and {free} of {family} are free.</source>
        <translation>Quota: richiede {needed} core, e {free} di {family} sono liberi.</translation>
    </message>
    <message>
        <source>Raw values outside 0..255 do not fit an 8-bit picture and were cut off; choose a window instead.</source>
        <translation>I valori grezzi fuori da 0..255 non entrano in un&apos;immagine a 8 bit e sono stati tagliati; scegliere invece una finestra.</translation>
    </message>
    <message>
        <source>Results in DICOM are written for one frame at a time: give --frame with its number.</source>
        <translation>I risultati in DICOM si scrivono per un fotogramma alla volta: indicare --frame con il suo numero.</translation>
    </message>
    <message>
        <source>Say what to search for: --image INPUT or --text &quot;…&quot;, one of the two.</source>
        <translation>Indicare che cosa cercare: --image INPUT o --text &quot;…&quot;, uno dei due.</translation>
    </message>
    <message>
        <source>Say what to search for: a slice of a volume, or a text, one of the two.</source>
        <translation>Indicare che cosa cercare: una sezione di un volume o un testo, uno dei due.</translation>
    </message>
    <message>
        <source>Say what to write: a DICOM segmentation, a structure set, labelmaps or statistics.</source>
        <translation>Indicare che cosa scrivere: una segmentazione DICOM, uno structure set, mappe di etichette o statistiche.</translation>
    </message>
    <message>
        <source>Say where to send: the URL of an endpoint or the name of a profile, one of the two.</source>
        <translation>Indicare dove inviare: l&apos;URL di un endpoint o il nome di un profilo, uno dei due.</translation>
    </message>
    <message>
        <source>Say which records to remove: by source, by series, by number or by provenance, one of these.</source>
        <translation>Indicare quali record rimuovere: per origine, per serie, per numero o per provenienza, uno di questi.</translation>
    </message>
    <message>
        <source>Say which {plane} slices to send: one index, a range such as 10:20, or all (there are {count}).</source>
        <translation>Indicare quali sezioni inviare nel piano {plane}: un indice, un intervallo come 10:20, oppure all (ce ne sono {count}).</translation>
    </message>
    <message>
        <source>Say with which slice to search: one index from 0 to {value} (the index holds slices, not whole volumes).</source>
        <translation>Indicare con quale sezione cercare: un indice da 0 a {value} (l&apos;indice contiene sezioni, non volumi interi).</translation>
    </message>
    <message>
        <source>Segmentations need the MRML library, which is not installed; run this in Slicer&apos;s Python or pip install slicer-core.</source>
        <translation>Le segmentazioni richiedono la libreria MRML, che non è installata; eseguire nel Python di Slicer o con pip install slicer-core.</translation>
    </message>
    <message>
        <source>Segments of &quot;{name}&quot; have been edited since the import, so it cannot be taken back without losing those edits; undo them in the Segment Editor first.</source>
        <translation>I segmenti di &quot;{name}&quot; sono stati modificati dopo l&apos;importazione, quindi non si può annullarla senza perdere quelle modifiche; annullare prima queste nel Segment Editor.</translation>
    </message>
    <message>
        <source>Several images are run on with segmentVolume or segmentSlices.</source>
        <translation>Per più immagini usare segmentVolume o segmentSlices.</translation>
    </message>
    <message>
        <source>Several of the {count} images of the series lie at the same position (up to {most}, at {several} of {count2} positions; most positions have {size}, unlike {listed}): give a folder with one volume.</source>
        <translation>Più immagini delle {count} della serie si trovano nella stessa posizione (fino a {most}, in {several} posizioni su {count2}; la maggior parte delle posizioni ne ha {size}, a differenza di {listed}): indicare una cartella con un solo volume.</translation>
    </message>
    <message>
        <source>Several structures do not fit into one segment; type one, or choose new segments.</source>
        <translation>Più strutture non entrano in un solo segmento; digitarne una, o scegliere nuovi segmenti.</translation>
    </message>
    <message>
        <source>Several workspaces fit; say which one with --workspace and --subscription: {listed}.</source>
        <translation>Più aree di lavoro corrispondono; indicare quale con --workspace e --subscription: {listed}.</translation>
    </message>
    <message>
        <source>Shards, a scheduler and doing again need an account of the run: give --work-dir DIR.</source>
        <translation>Parti, uno scheduler e la ripetizione richiedono un resoconto dell&apos;esecuzione: indicare --work-dir DIR.</translation>
    </message>
    <message>
        <source>Skin lesions on a dermoscopic picture</source>
        <translation>Lesioni cutanee in un&apos;immagine dermoscopica</translation>
    </message>
    <message>
        <source>Slicer&apos;s DICOM module is not there, so the series cannot be loaded; load it yourself and try again.</source>
        <translation>Il modulo DICOM di Slicer non è presente, quindi la serie non può essere caricata; caricarla a mano e riprovare.</translation>
    </message>
    <message>
        <source>Slices are classified one by one and as a whole; leave the pooling out.</source>
        <translation>Le sezioni si classificano una per una e nell&apos;insieme; non indicare l&apos;aggregazione.</translation>
    </message>
    <message>
        <source>Some masks overlap; where they do, the labelmap keeps the later prompt (the .seg.nrrd keeps both).</source>
        <translation>Alcune maschere si sovrappongono; in quei punti la mappa di etichette conserva l&apos;ultimo prompt (il file .seg.nrrd li conserva entrambi).</translation>
    </message>
    <message>
        <source>Some segments overlap; where they do, the labelmap keeps the later one.</source>
        <translation>Alcuni segmenti si sovrappongono; in quei punti la mappa di etichette conserva l&apos;ultimo.</translation>
    </message>
    <message>
        <source>Something unexpected went wrong ({kind}) and nothing was imported; look in the log for the details.</source>
        <translation>Si è verificato un errore imprevisto ({kind}) e non è stato importato nulla; i dettagli sono nel registro.</translation>
    </message>
    <message>
        <source>Spine in MRI: vertebrae, discs, canal and cord</source>
        <translation>Colonna in RM: vertebre, dischi, canale e midollo</translation>
    </message>
    <message>
        <source>Surface Dice and Hausdorff distance were left out: they need the package surface-distance (`pip install surface-distance`).</source>
        <translation>Dice di superficie e distanza di Hausdorff non sono stati calcolati: richiedono il pacchetto surface-distance (`pip install surface-distance`).</translation>
    </message>
    <message>
        <source>Targets that contain each other or mean the same can suppress one another when sent to MedImageParse 3D together ({pairs}): {one_prompt_a_request}.</source>
        <translation>Strutture che si contengono o hanno lo stesso significato possono escludersi a vicenda se inviate insieme a MedImageParse 3D ({pairs}): {one_prompt_a_request}.</translation>
    </message>
    <message>
        <source>The 15 abdominal organs of AMOS, in the words of the model card&apos;s own sample request</source>
        <translation>I 15 organi addominali di AMOS, con le parole della richiesta di esempio della scheda del modello</translation>
    </message>
    <message>
        <source>The Azure CLI has no sign-in to share: install it, run `az login`, then try again.</source>
        <translation>Azure CLI non ha un accesso da condividere: installarlo, eseguire `az login`, poi riprovare.</translation>
    </message>
    <message>
        <source>The Azure ML token has expired, by this computer&apos;s clock: get a new one ({how_to_get_one}).</source>
        <translation>Il token di Azure ML è scaduto, secondo l&apos;orologio di questo computer: ottenerne uno nuovo ({how_to_get_one}).</translation>
    </message>
    <message>
        <source>The Azure resource id has to look like /subscriptions/…/onlineEndpoints/NAME: make the profile again with discover.</source>
        <translation>L&apos;ID risorsa di Azure deve avere la forma /subscriptions/…/onlineEndpoints/NAME: creare di nuovo il profilo con discover.</translation>
    </message>
    <message>
        <source>The CA bundle is {ca_bundle}</source>
        <translation>Il pacchetto di CA è {ca_bundle}</translation>
    </message>
    <message>
        <source>The CA bundle is {path}, and there is no such file: name a PEM file.</source>
        <translation>Il file delle autorità di certificazione è {path}, e non esiste: indicare un file PEM.</translation>
    </message>
    <message>
        <source>The DICOM database holds no series of images yet; import some in the DICOM module.</source>
        <translation>Il database DICOM non contiene ancora serie di immagini; importarne alcune nel modulo DICOM.</translation>
    </message>
    <message>
        <source>The DICOM database holds no series yet; import some in the DICOM module.</source>
        <translation>Il database DICOM non contiene ancora serie; importarne alcune nel modulo DICOM.</translation>
    </message>
    <message>
        <source>The DICOM file {name} is a mosaic: many slices tiled in one picture. Convert the series with dcm2niix and give the NIfTI file.</source>
        <translation>Il file DICOM {name} è un mosaico: molte sezioni affiancate in un&apos;immagine. Convertire la serie con dcm2niix e indicare il file NIfTI.</translation>
    </message>
    <message>
        <source>The NIfTI file goes on after its last voxel: its header and its data do not fit together.</source>
        <translation>Il file NIfTI prosegue dopo l&apos;ultimo voxel: intestazione e dati non corrispondono.</translation>
    </message>
    <message>
        <source>The NIfTI file holds voxels of type {code2}, which is no plain number or color; convert it first.</source>
        <translation>Il file NIfTI contiene voxel di tipo {code2}, che non è un numero o un colore semplice; convertirlo prima.</translation>
    </message>
    <message>
        <source>The NIfTI file holds {data_bytes} bytes of voxels where at most {max_bytes} were expected.</source>
        <translation>Il file NIfTI contiene {data_bytes} byte di voxel dove ne erano attesi al massimo {max_bytes}.</translation>
    </message>
    <message>
        <source>The NIfTI file is damaged: its gzip cannot be unpacked.</source>
        <translation>Il file NIfTI è danneggiato: il suo gzip non può essere decompresso.</translation>
    </message>
    <message>
        <source>The NIfTI file is truncated: it ends before its last voxel.</source>
        <translation>Il file NIfTI è troncato: finisce prima dell&apos;ultimo voxel.</translation>
    </message>
    <message>
        <source>The NIfTI file is truncated: its gzip ends too early.</source>
        <translation>Il file NIfTI è troncato: il suo gzip finisce troppo presto.</translation>
    </message>
    <message>
        <source>The NIfTI file is truncated: its header promises {data_bytes} bytes of voxels and the file cannot hold them.</source>
        <translation>Il file NIfTI è troncato: l&apos;intestazione promette {data_bytes} byte di voxel, che il file non può contenere.</translation>
    </message>
    <message>
        <source>The NIfTI header is damaged: its dimensions make no sense.</source>
        <translation>L&apos;intestazione NIfTI è danneggiata: le sue dimensioni non hanno senso.</translation>
    </message>
    <message>
        <source>The NIfTI header puts the voxels {data_offset} bytes into the file, far behind any header.</source>
        <translation>L&apos;intestazione NIfTI colloca i voxel a {data_offset} byte dall&apos;inizio del file, ben oltre qualsiasi intestazione.</translation>
    </message>
    <message>
        <source>The Segment Editor went to another segmentation while the job was running, so its result was dropped.</source>
        <translation>Il Segment Editor è passato a un&apos;altra segmentazione durante il lavoro, quindi il risultato è stato scartato.</translation>
    </message>
    <message>
        <source>The Segment Editor went to another source volume while the job was running, and its intensity range belongs to that one, so the result was dropped and nothing was changed; switch the range off, or choose the volume, and run again.</source>
        <translation>Il Segment Editor è passato a un altro volume di origine durante l&apos;esecuzione, e il suo intervallo di intensità appartiene a quello, quindi il risultato è stato scartato e nulla è stato modificato; disattivare l&apos;intervallo, o scegliere il volume, ed eseguire di nuovo.</translation>
    </message>
    <message>
        <source>The TIFF file {name} is incomplete, or stores its pixels in a way that is not read here; save it with 8 or 16 bits, gray or RGB.</source>
        <translation>Il file TIFF {name} è incompleto o memorizza i pixel in un modo che qui non si legge; salvarlo con 8 o 16 bit, in grigio o RGB.</translation>
    </message>
    <message>
        <source>The URL of Azure Resource Manager has to begin with https:// and a host name.</source>
        <translation>L&apos;URL di Azure Resource Manager deve iniziare con https:// e un nome di host.</translation>
    </message>
    <message>
        <source>The adapter was made for vectors of {own} numbers, and these have {given}; use the model that it was trained with.</source>
        <translation>L&apos;adattatore è stato creato per vettori di {own} numeri, e questi ne hanno {given}; usare il modello con cui è stato addestrato.</translation>
    </message>
    <message>
        <source>The adapter was trained on part of these images, so the figures are better than on new images.</source>
        <translation>L&apos;adattatore è stato addestrato su una parte di queste immagini, quindi i valori sono migliori che su immagini nuove.</translation>
    </message>
    <message>
        <source>The adapter was trained on vectors of {own}, and these are of {given}; use the same model and preprocessing, or train anew.</source>
        <translation>L&apos;adattatore è stato addestrato su vettori di {own}, e questi sono di {given}; usare lo stesso modello e la stessa preelaborazione, o addestrarlo di nuovo.</translation>
    </message>
    <message>
        <source>The adapter&apos;s recipe is none of this version&apos;s; train it anew.</source>
        <translation>La ricetta dell&apos;adattatore non è di questa versione; addestrarlo di nuovo.</translation>
    </message>
    <message>
        <source>The address of {place} or of its proxy cannot be used: check both for typing mistakes.</source>
        <translation>L&apos;indirizzo di {place} o del suo proxy non può essere usato: controllare in entrambi gli errori di battitura.</translation>
    </message>
    <message>
        <source>The affine beside the array is no 4x4 matrix with the last row 0 0 0 1; give the one from i, j, k to RAS in mm.</source>
        <translation>L&apos;affine accanto all&apos;array non è una matrice 4x4 con ultima riga 0 0 0 1; indicare quella da i, j, k a RAS in mm.</translation>
    </message>
    <message>
        <source>The archive {name} holds more than is unpacked here; unpack it yourself and give the folder.</source>
        <translation>L&apos;archivio {name} contiene più di quanto qui viene decompresso; decomprimerlo a mano e indicare la cartella.</translation>
    </message>
    <message>
        <source>The archive {name} holds no file; give one with images.</source>
        <translation>L&apos;archivio {name} non contiene file; indicarne uno con immagini.</translation>
    </message>
    <message>
        <source>The archive {name} holds the header of an image only; unpack it beside its voxels.</source>
        <translation>L&apos;archivio {name} contiene solo l&apos;intestazione di un&apos;immagine; decomprimerlo accanto ai suoi voxel.</translation>
    </message>
    <message>
        <source>The archive {name} holds {count} images ({listed}); unpack it and give one of them.</source>
        <translation>L&apos;archivio {name} contiene {count} immagini ({listed}); estrarlo e indicarne una.</translation>
    </message>
    <message>
        <source>The camera noted that this picture is to be shown turned; it is sent as stored, not turned.</source>
        <translation>La fotocamera ha annotato che questa immagine va mostrata ruotata; viene inviata come memorizzata, non ruotata.</translation>
    </message>
    <message>
        <source>The cases {other} and {case} would both write {name}: give them other ids in a cases.csv.</source>
        <translation>I casi {other} e {case} scriverebbero entrambi {name}: dare loro altri ID in un file cases.csv.</translation>
    </message>
    <message>
        <source>The certificate of the sign-in server {where} is not trusted: where a proxy of your organization replaces certificates, {give_authority}.</source>
        <translation>Il certificato del server di accesso {where} non è attendibile: se un proxy dell&apos;organizzazione sostituisce i certificati, {give_authority}.</translation>
    </message>
    <message>
        <source>The certificate of {host} is not trusted: where a proxy of your organization replaces certificates, {give_authority}.</source>
        <translation>Il certificato di {host} non è attendibile: se un proxy dell&apos;organizzazione sostituisce i certificati, {give_authority}.</translation>
    </message>
    <message>
        <source>The certificate of {place} becomes valid{since} by this computer&apos;s clock ({now}): the clock is probably behind, so set it.</source>
        <translation>Il certificato di {place} diventa valido{since} secondo l&apos;orologio di questo computer ({now}): l&apos;orologio è probabilmente indietro, quindi regolarlo.</translation>
    </message>
    <message>
        <source>The certificate of {place} expired{ago} by this computer&apos;s clock ({now}): set the clock if that is wrong, else its owner has to renew it.</source>
        <translation>Il certificato di {place} è scaduto{ago} secondo l&apos;orologio di questo computer ({now}): se l&apos;orologio è sbagliato regolarlo, altrimenti il proprietario deve rinnovare il certificato.</translation>
    </message>
    <message>
        <source>The certificate of {place} is self-signed by “{issuer}”, so it is not trusted: {give_pem} if you know it to be right.</source>
        <translation>Il certificato di {place} è autofirmato da “{issuer}”, quindi non è attendibile: {give_pem} se si sa che è corretto.</translation>
    </message>
    <message>
        <source>The certificate of {place}{by} is not trusted on this computer: if that is your hospital&apos;s or company&apos;s own authority (a proxy that reads TLS), {give_pem}.</source>
        <translation>Il certificato di {place}{by} non è attendibile su questo computer: se si tratta dell&apos;autorità dell&apos;ospedale o dell&apos;azienda (un proxy che legge TLS), {give_pem}.</translation>
    </message>
    <message>
        <source>The certificate shown by {place} belongs to another name{whose}: check the URL, and whether a proxy is in between.</source>
        <translation>Il certificato mostrato da {place} appartiene a un altro nome{whose}: controllare l&apos;URL, e se c&apos;è un proxy in mezzo.</translation>
    </message>
    <message>
        <source>The cloud &apos;{cloud}&apos; is not known: choose one of {known}.</source>
        <translation>Il cloud &apos;{cloud}&apos; non è noto: scegliere uno tra {known}.</translation>
    </message>
    <message>
        <source>The color volume was sent as luminance; MedImageParse 3D takes one channel.</source>
        <translation>Il volume a colori è stato inviato come luminanza; MedImageParse 3D accetta un solo canale.</translation>
    </message>
    <message>
        <source>The connection to {place} broke before the request was sent: check the network, the VPN and the proxy.</source>
        <translation>La connessione a {place} si è interrotta prima dell&apos;invio della richiesta: controllare la rete, la VPN e il proxy.</translation>
    </message>
    <message>
        <source>The connection to {place} broke during the upload: check the network, and whether a proxy limits what may be sent.</source>
        <translation>La connessione a {place} si è interrotta durante l&apos;invio: controllare la rete, e se un proxy limita ciò che può essere inviato.</translation>
    </message>
    <message>
        <source>The connection to {place} broke in the middle of the reply{how_much}: check the network and try again.</source>
        <translation>La connessione a {place} si è interrotta a metà della risposta{how_much}: controllare la rete e riprovare.</translation>
    </message>
    <message>
        <source>The data in the reply&apos;s {name} is not base64, or is cut short: {text}</source>
        <translation>I dati nel campo {name} della risposta non sono base64, o sono troncati: {text}</translation>
    </message>
    <message>
        <source>The delete-by date is written as 2026-12-31; &apos;{given}&apos; is not.</source>
        <translation>La data di eliminazione si scrive come 2026-12-31; &apos;{given}&apos; no.</translation>
    </message>
    <message>
        <source>The delete-by date {given} is over.</source>
        <translation>La data di eliminazione {given} è passata.</translation>
    </message>
    <message>
        <source>The deployment &quot;{name}&quot; is not ready: its state is {state}.</source>
        <translation>La distribuzione &quot;{name}&quot; non è pronta: il suo stato è {state}.</translation>
    </message>
    <message>
        <source>The deployment of &quot;{name}&quot; failed: {reason}{said}.{log} What is half made can be deleted with `{delete_command}`; the same deploy command tries again.</source>
        <translation>La distribuzione di &quot;{name}&quot; non è riuscita: {reason}{said}.{log} Ciò che è stato creato a metà si può eliminare con `{delete_command}`; lo stesso comando di distribuzione riprova.</translation>
    </message>
    <message>
        <source>The deployment&apos;s name holds characters that no deployment has: copy it from the endpoint&apos;s page.</source>
        <translation>Il nome della distribuzione contiene caratteri non ammessi: copiarlo dalla pagina dell&apos;endpoint.</translation>
    </message>
    <message>
        <source>The device code sign-in is not available here: use the browser or the Azure CLI instead.</source>
        <translation>L&apos;accesso con codice dispositivo non è disponibile qui: usare invece il browser o Azure CLI.</translation>
    </message>
    <message>
        <source>The dialect &apos;{dialect}&apos; is not known: use one of {listed}.</source>
        <translation>Il dialetto &apos;{dialect}&apos; non è noto: usare uno tra {listed}.</translation>
    </message>
    <message>
        <source>The disk of the folder {folder} is full; free some space, or choose another place.</source>
        <translation>Il disco della cartella {folder} è pieno; liberare spazio o scegliere un&apos;altra posizione.</translation>
    </message>
    <message>
        <source>The disk refused to read or write the index {path} (full, over quota, or gone); see to it and run again: what was stored is kept.</source>
        <translation>Il disco ha rifiutato di leggere o scrivere l&apos;indice {path} (pieno, oltre la quota o assente); rimediare ed eseguire di nuovo: ciò che era memorizzato è conservato.</translation>
    </message>
    <message>
        <source>The distances between slices vary ({min:.3g} to {max:.3g} mm; thin and thick slices, or a slice missing?): the {count} slices were resampled to {count2} slices, {distance:.3g} mm apart.</source>
        <translation>Le distanze tra le sezioni variano (da {min:.3g} a {max:.3g} mm; sezioni sottili e spesse, o una sezione mancante?): le {count} sezioni sono state ricampionate in {count2} sezioni, a {distance:.3g} mm l&apos;una dall&apos;altra.</translation>
    </message>
    <message>
        <source>The drive of the index {path} has no file locks that work, as some network shares; keep the index on a local disk.</source>
        <translation>L&apos;unità dell&apos;indice {path} non ha blocchi dei file funzionanti, come alcune condivisioni di rete; tenere l&apos;indice su un disco locale.</translation>
    </message>
    <message>
        <source>The drive of the index {path} has no file locks, as some network shares, so two programs could damage it; keep the index on a local disk.</source>
        <translation>L&apos;unità dell&apos;indice {path} non ha blocchi dei file, come alcune condivisioni di rete, quindi due programmi potrebbero danneggiarlo; tenere l&apos;indice su un disco locale.</translation>
    </message>
    <message>
        <source>The endpoint &quot;{name}&quot; has no URL yet (state: {value}): wait until it is ready.</source>
        <translation>L&apos;endpoint &quot;{name}&quot; non ha ancora un URL (stato: {value}): attendere che sia pronto.</translation>
    </message>
    <message>
        <source>The endpoint &quot;{name}&quot; has several deployments ({listed}): say which one.</source>
        <translation>L&apos;endpoint &quot;{name}&quot; ha più distribuzioni ({listed}): indicare quale.</translation>
    </message>
    <message>
        <source>The endpoint &quot;{name}&quot;{on} has cost money{since}, used or not.{late}</source>
        <translation>L&apos;endpoint &quot;{name}&quot;{on} comporta costi{since}, che venga usato o no.{late}</translation>
    </message>
    <message>
        <source>The endpoint &apos;{name}&apos; was not made by this program, so it is left alone: use Azure Machine Learning studio for it.</source>
        <translation>L&apos;endpoint &apos;{name}&apos; non è stato creato da questo programma, quindi non viene toccato: usare per esso Azure Machine Learning studio.</translation>
    </message>
    <message>
        <source>The endpoint answered with a vector that is zero or holds numbers that are not finite, so it cannot be used.</source>
        <translation>L&apos;endpoint ha risposto con un vettore nullo o con numeri non finiti, quindi non utilizzabile.</translation>
    </message>
    <message>
        <source>The endpoint answered with {kind}; check that the URL is the scoring URL. It began: {body}</source>
        <translation>L&apos;endpoint ha risposto con {kind}; controllare che l&apos;URL sia quello di assegnazione dei punteggi. La risposta iniziava: {body}</translation>
    </message>
    <message>
        <source>The endpoint answered {count} rows where {expected} objects were expected: {body}</source>
        <translation>L&apos;endpoint ha risposto con {count} righe dove erano attesi {expected} oggetti: {body}</translation>
    </message>
    <message>
        <source>The endpoint answers with something else than labels and scores, so it is no fine-tuned classifier; classify without it. It began: {body}</source>
        <translation>L&apos;endpoint non risponde con etichette e punteggi, quindi non è un classificatore addestrato; classificare senza di esso. La risposta iniziava: {body}</translation>
    </message>
    <message>
        <source>The endpoint asks for a {what} and none was given: {give_key} ({how_to_get_one}).</source>
        <translation>L&apos;endpoint richiede {what} e non è stato indicato nulla: {give_key} ({how_to_get_one}).</translation>
    </message>
    <message>
        <source>The endpoint costs money, and that could not be noted in {path} ({why}).</source>
        <translation>L&apos;endpoint comporta costi, e non è stato possibile annotarlo in {path} ({why}).</translation>
    </message>
    <message>
        <source>The endpoint does not state its scaling factor; the published model&apos;s {factor} was used.</source>
        <translation>L&apos;endpoint non indica il suo fattore di scala; è stato usato quello del modello pubblicato, {factor}.</translation>
    </message>
    <message>
        <source>The endpoint is made and costs money, but its first answer was: {error}</source>
        <translation>L&apos;endpoint è stato creato e comporta costi, ma la sua prima risposta è stata: {error}</translation>
    </message>
    <message>
        <source>The endpoint is made and costs money, but was not tried: {error}</source>
        <translation>L&apos;endpoint è stato creato e comporta costi, ma non è stato provato: {error}</translation>
    </message>
    <message>
        <source>The endpoint reported an error</source>
        <translation>L&apos;endpoint ha segnalato un errore</translation>
    </message>
    <message>
        <source>The endpoint {name} is deleted, but {path} could not be written ({why}), so you may still be reminded of it.</source>
        <translation>L&apos;endpoint {name} è eliminato, ma {path} non è stato scritto ({why}), quindi il promemoria potrebbe comparire ancora.</translation>
    </message>
    <message>
        <source>The endpoint {name} is made and costs money, but its profile could not be kept: {error} `deploy delete {name}` ends the cost.</source>
        <translation>L&apos;endpoint {name} è creato e ha un costo, ma il suo profilo non è stato conservato: {error} `deploy delete {name}` ferma il costo.</translation>
    </message>
    <message>
        <source>The endpoint&apos;s URL</source>
        <translation>L&apos;URL dell&apos;endpoint</translation>
    </message>
    <message>
        <source>The endpoint&apos;s URL begins with {scheme}://, which is not spoken here: it should look like {example}.</source>
        <translation>L&apos;URL dell&apos;endpoint inizia con {scheme}://, che qui non è usato: dovrebbe essere simile a {example}.</translation>
    </message>
    <message>
        <source>The endpoint&apos;s URL cannot be read, perhaps for its port: it should look like {example}.</source>
        <translation>L&apos;URL dell&apos;endpoint non è leggibile, forse per la porta: dovrebbe essere simile a {example}.</translation>
    </message>
    <message>
        <source>The endpoint&apos;s URL has the address {bracketed}, at which a server listens but nobody can call it: on the server&apos;s own computer use {scheme}://127.0.0.1{detail}{path}, elsewhere that computer&apos;s name.</source>
        <translation>L&apos;URL dell&apos;endpoint ha l&apos;indirizzo {bracketed}, su cui un server ascolta ma che nessuno può chiamare: sul computer del server usare {scheme}://127.0.0.1{detail}{path}, altrove il nome di quel computer.</translation>
    </message>
    <message>
        <source>The endpoint&apos;s URL holds a user name or password before {before}: take it out, and {key_not_in_url}.</source>
        <translation>L&apos;URL dell&apos;endpoint contiene un nome utente o una password prima di {before}: toglierli, e {key_not_in_url}.</translation>
    </message>
    <message>
        <source>The endpoint&apos;s URL is plain http, so images would cross the network readable by anyone: if the server speaks https, use https://{bracketed}{port}{path}; else {allow_plain_http}.</source>
        <translation>L&apos;URL dell&apos;endpoint è http semplice, quindi le immagini attraverserebbero la rete leggibili da chiunque: se il server usa https, usare https://{bracketed}{port}{path}; altrimenti {allow_plain_http}.</translation>
    </message>
    <message>
        <source>The endpoint&apos;s URL must begin with https:// (or http:// for this computer): it should look like {example}.</source>
        <translation>L&apos;URL dell&apos;endpoint deve iniziare con https:// (o http:// per questo computer): dovrebbe essere simile a {example}.</translation>
    </message>
    <message>
        <source>The endpoint&apos;s URL names no host, or has a space, a back-slash or an invisible character in it: it should look like {example}.</source>
        <translation>L&apos;URL dell&apos;endpoint non contiene un host, o contiene uno spazio, una barra rovesciata o un carattere invisibile: dovrebbe essere simile a {example}.</translation>
    </message>
    <message>
        <source>The endpoint&apos;s labels changed during the run, so more than one model answers.</source>
        <translation>Le etichette dell&apos;endpoint sono cambiate durante l&apos;esecuzione, quindi risponde più di un modello.</translation>
    </message>
    <message>
        <source>The endpoint&apos;s model states the scaling factor {given:.6g}, but the vectors of {space} in the index came with {held:.6g}; another version of the model must be behind the endpoint: give its deployment a name of its own.</source>
        <translation>Il modello dell&apos;endpoint indica il fattore di scala {given:.6g}, ma i vettori di {space} nell&apos;indice sono arrivati con {held:.6g}; dietro l&apos;endpoint deve esserci un&apos;altra versione del modello: dare alla sua distribuzione un nome proprio.</translation>
    </message>
    <message>
        <source>The endpoint&apos;s name has 3 to 32 letters, digits and hyphens, and begins with a letter; &apos;{name}&apos; does not fit.</source>
        <translation>Il nome dell&apos;endpoint ha da 3 a 32 lettere, cifre e trattini, e inizia con una lettera; &apos;{name}&apos; non è adatto.</translation>
    </message>
    <message>
        <source>The endpoint&apos;s reply holds letters that no reply needs; it began: {body}</source>
        <translation>La risposta dell&apos;endpoint contiene lettere che nessuna risposta richiede; iniziava: {body}</translation>
    </message>
    <message>
        <source>The endpoint&apos;s reply holds {values:,} values, far more than it can need; another model may be behind this URL. It began: {body}</source>
        <translation>La risposta dell&apos;endpoint contiene {values:,} valori, molti più del necessario; dietro questo URL potrebbe esserci un altro modello. Iniziava: {body}</translation>
    </message>
    <message>
        <source>The endpoint&apos;s reply is none of the documented forms</source>
        <translation>La risposta dell&apos;endpoint non è in nessuna delle forme documentate</translation>
    </message>
    <message>
        <source>The endpoint&apos;s scaling factor changed during the run, from {held:.6g} to {given:.6g}, so two versions of the model take turns; {remedy}.</source>
        <translation>Il fattore di scala dell&apos;endpoint è cambiato durante l&apos;esecuzione, da {held:.6g} a {given:.6g}, quindi si alternano due versioni del modello; {remedy}.</translation>
    </message>
    <message>
        <source>The endpoint&apos;s vectors changed their kind during the run, so more than one model answers; {one_deployment}.</source>
        <translation>I vettori dell&apos;endpoint hanno cambiato tipo durante l&apos;esecuzione, quindi risponde più di un modello; {one_deployment}.</translation>
    </message>
    <message>
        <source>The engine {name} cannot be started ({why}); add it again.</source>
        <translation>Il motore {name} non può essere avviato ({why}); aggiungerlo di nuovo.</translation>
    </message>
    <message>
        <source>The engine {name} cannot be written ({strerror}): look at the folder of the engines.</source>
        <translation>Il motore {name} non può essere scritto ({strerror}): controllare la cartella dei motori.</translation>
    </message>
    <message>
        <source>The engine {name} ended {when} ({returncode}): {again}.</source>
        <translation>Il motore {name} è terminato {when} ({returncode}): {again}.</translation>
    </message>
    <message>
        <source>The engine {name} has no option &apos;{unknown}&apos;: it takes {takes}.</source>
        <translation>Il motore {name} non ha l&apos;opzione &apos;{unknown}&apos;: accetta {takes}.</translation>
    </message>
    <message>
        <source>The engine {name} is added already: remove it first, or give another name (--name).</source>
        <translation>Il motore {name} è già aggiunto: rimuoverlo prima, o dare un altro nome (--name).</translation>
    </message>
    <message>
        <source>The engine {name} is in use: stop its server, then remove it.</source>
        <translation>Il motore {name} è in uso: fermare il suo server, poi rimuoverlo.</translation>
    </message>
    <message>
        <source>The engine {name} is not ready yet ({sentence}): ask again in a minute.</source>
        <translation>Il motore {name} non è ancora pronto ({sentence}): riprovare tra un minuto.</translation>
    </message>
    <message>
        <source>The engine {name} needs --{option} {upper}: {help}.</source>
        <translation>Il motore {name} richiede --{option} {upper}: {help}.</translation>
    </message>
    <message>
        <source>The engine {name} was stopped.</source>
        <translation>Il motore {name} è stato fermato.</translation>
    </message>
    <message>
        <source>The engine {name} {what} ({name2}); the server&apos;s standard error has more.</source>
        <translation>Il motore {name} {what} ({name2}); l&apos;output degli errori del server contiene altri dettagli.</translation>
    </message>
    <message>
        <source>The engine {name} {what}: the package {package} is missing in its environment; add the engine again (engine add {name}).</source>
        <translation>Il motore {name} {what}: nel suo ambiente manca il pacchetto {package}; aggiungere di nuovo il motore (engine add {name}).</translation>
    </message>
    <message>
        <source>The engine {name} {what}: there is not enough memory; send less at once, or close other programs.</source>
        <translation>Il motore {name} {what}: non c&apos;è abbastanza memoria; inviare meno dati alla volta, o chiudere altri programmi.</translation>
    </message>
    <message>
        <source>The engine {which} is not added yet: run `engine add {listed}`.</source>
        <translation>Il motore {which} non è ancora aggiunto: eseguire `engine add {listed}`.</translation>
    </message>
    <message>
        <source>The engine&apos;s answer does not fit the {count} prompts: report that to its author.</source>
        <translation>La risposta del motore non corrisponde ai {count} prompt: segnalarlo al suo autore.</translation>
    </message>
    <message>
        <source>The engine&apos;s mask has the shape {shape} where the image has {shape2}: report that to its author.</source>
        <translation>La maschera del motore ha la forma {shape} dove l&apos;immagine ha {shape2}: segnalarlo al suo autore.</translation>
    </message>
    <message>
        <source>The engine&apos;s probabilities lie outside 0 to 1: report that to its author.</source>
        <translation>Le probabilità del motore sono fuori da 0 a 1: segnalarlo al suo autore.</translation>
    </message>
    <message>
        <source>The engine&apos;s vector is empty or holds values that are no numbers: report that to its author.</source>
        <translation>Il vettore del motore è vuoto o contiene valori che non sono numeri: segnalarlo al suo autore.</translation>
    </message>
    <message>
        <source>The environment names no service principal: set AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET.</source>
        <translation>Le variabili d&apos;ambiente non indicano un&apos;entità servizio: impostare AZURE_TENANT_ID, AZURE_CLIENT_ID e AZURE_CLIENT_SECRET.</translation>
    </message>
    <message>
        <source>The environment variable {key_variable}</source>
        <translation>La variabile d&apos;ambiente {key_variable}</translation>
    </message>
    <message>
        <source>The file behind the nibabel image cannot be read ({name}); load it again.</source>
        <translation>Il file dietro l&apos;immagine nibabel non può essere letto ({name}); caricarlo di nuovo.</translation>
    </message>
    <message>
        <source>The file is not NIfTI: it does not begin with a NIfTI header.</source>
        <translation>Il file non è NIfTI: non inizia con un&apos;intestazione NIfTI.</translation>
    </message>
    <message>
        <source>The file is one half of a NIfTI pair (.hdr and .img); convert it to a single .nii.gz first.</source>
        <translation>Il file è una metà di una coppia NIfTI (.hdr e .img); convertirla prima in un unico .nii.gz.</translation>
    </message>
    <message>
        <source>The file states two positions (sform and qform) that lie up to {apart:.3g} mm apart; programs differ in which they show. The results state both, as the file does.</source>
        <translation>Il file indica due posizioni (sform e qform) che distano fino a {apart:.3g} mm; i programmi differiscono in quella che mostrano. I risultati indicano entrambe, come il file.</translation>
    </message>
    <message>
        <source>The file {basename} could not be loaded; look in the log for details.</source>
        <translation>Il file {basename} non può essere caricato; i dettagli sono nel registro.</translation>
    </message>
    <message>
        <source>The file {name}</source>
        <translation>Il file {name}</translation>
    </message>
    <message>
        <source>The file {name} cannot be imported: its name must end with {listed} or .jsonl.</source>
        <translation>Il file {name} non può essere importato: il suo nome deve terminare con {listed} o .jsonl.</translation>
    </message>
    <message>
        <source>The file {name} cannot be written: its name must end with {listed}.</source>
        <translation>Il file {name} non può essere scritto: il suo nome deve terminare con {listed}.</translation>
    </message>
    <message>
        <source>The file {name} holds {count} volumes; choose one with --frame 0 to {value}.</source>
        <translation>Il file {name} contiene {count} volumi; sceglierne uno con --frame da 0 a {value}.</translation>
    </message>
    <message>
        <source>The file {name} holds {held} of the {count} frames that it promises; copy or export it again.</source>
        <translation>Il file {name} contiene {held} dei {count} fotogrammi dichiarati; copiarlo o esportarlo di nuovo.</translation>
    </message>
    <message>
        <source>The file {name} is damaged or no volume of FreeSurfer&apos;s; copy or export it again.</source>
        <translation>Il file {name} è danneggiato o non è un volume di FreeSurfer; copiarlo o esportarlo di nuovo.</translation>
    </message>
    <message>
        <source>The file {name} is damaged, incomplete or encrypted; unpack it yourself and give what it holds.</source>
        <translation>Il file {name} è danneggiato, incompleto o cifrato; decomprimerlo a mano e indicare il contenuto.</translation>
    </message>
    <message>
        <source>The file {name} is damaged, incomplete or no segmentation.</source>
        <translation>Il file {name} è danneggiato, incompleto o non è una segmentazione.</translation>
    </message>
    <message>
        <source>The file {name} is damaged, incomplete or not of the kind that its name says; copy or export it again.</source>
        <translation>Il file {name} è danneggiato, incompleto o non del tipo indicato dal nome; copiarlo o esportarlo di nuovo.</translation>
    </message>
    <message>
        <source>The file {name} is empty (0 bytes); copy or export it again.</source>
        <translation>Il file {name} è vuoto (0 byte); copiarlo o esportarlo di nuovo.</translation>
    </message>
    <message>
        <source>The file {name} is larger than is unpacked here.</source>
        <translation>Il file {name} è più grande di quanto qui viene decompresso.</translation>
    </message>
    <message>
        <source>The file {name} is no DICOM, so it holds no series to choose from: leave --series out.</source>
        <translation>Il file {name} non è DICOM, quindi non contiene serie tra cui scegliere: non indicare --series.</translation>
    </message>
    <message>
        <source>The file {name} is of a kind that is not read here; give {readable}.</source>
        <translation>Il file {name} è di un tipo che qui non viene letto; indicare {readable}.</translation>
    </message>
    <message>
        <source>The file {name} is one half of a pair, and {other} is not beside it; copy both.</source>
        <translation>Il file {name} è la metà di una coppia e {other} non si trova accanto a esso; copiare entrambi.</translation>
    </message>
    <message>
        <source>The file {name} unpacks to more than is unpacked here; unpack it yourself.</source>
        <translation>Il file {name} si espande a più di quanto qui viene decompresso; decomprimerlo a mano.</translation>
    </message>
    <message>
        <source>The file {path} cannot be written ({value}); choose another place.</source>
        <translation>Il file {path} non può essere scritto ({value}); scegliere un&apos;altra posizione.</translation>
    </message>
    <message>
        <source>The file {path} does not have the tables of an index, or others as well; choose another file or restore a copy.</source>
        <translation>Il file {path} non ha le tabelle di un indice, o ne ha anche altre; scegliere un altro file o ripristinare una copia.</translation>
    </message>
    <message>
        <source>The file {path} holds sketches of what is to be removed and cannot be deleted ({why}); close the program that uses it.</source>
        <translation>Il file {path} contiene schizzi di ciò che va rimosso e non può essere eliminato ({why}); chiudere il programma che lo usa.</translation>
    </message>
    <message>
        <source>The file {path} is a database of another program, not an index; choose another file.</source>
        <translation>Il file {path} è un database di un altro programma, non un indice; scegliere un altro file.</translation>
    </message>
    <message>
        <source>The file {path} is no adapter, or it is damaged or cut short; train it again or restore a copy.</source>
        <translation>Il file {path} non è un adattatore, o è danneggiato o troncato; addestrarlo di nuovo o ripristinare una copia.</translation>
    </message>
    <message>
        <source>The file {path} is not an index, or its beginning is damaged; choose another file or restore a copy.</source>
        <translation>Il file {path} non è un indice, o il suo inizio è danneggiato; scegliere un altro file o ripristinare una copia.</translation>
    </message>
    <message>
        <source>The file {path} was exported by another version or program; this one reads {format}.</source>
        <translation>Il file {path} è stato esportato da un&apos;altra versione o da un altro programma; questa legge {format}.</translation>
    </message>
    <message>
        <source>The file {path} was not exported from an index, or it is damaged{clause}; choose another.</source>
        <translation>Il file {path} non è stato esportato da un indice, o è danneggiato{clause}; sceglierne un altro.</translation>
    </message>
    <message>
        <source>The file&apos;s sform is empty or cannot be used, so its qform places the image.</source>
        <translation>La sform del file è vuota o inutilizzabile, quindi l&apos;immagine è posizionata dalla qform.</translation>
    </message>
    <message>
        <source>The file&apos;s sform is empty, so its voxel sizes alone place the image.</source>
        <translation>La sform del file è vuota, quindi l&apos;immagine è posizionata solo dalle dimensioni dei voxel.</translation>
    </message>
    <message>
        <source>The fit &apos;{fit}&apos; is not known; give pad or stretch.</source>
        <translation>L&apos;adattamento &apos;{fit}&apos; non è noto; indicare pad o stretch.</translation>
    </message>
    <message>
        <source>The five lobes of the lungs</source>
        <translation>I cinque lobi polmonari</translation>
    </message>
    <message>
        <source>The folder {folder} cannot be made ({value}); choose another.</source>
        <translation>La cartella {folder} non può essere creata ({value}); sceglierne un&apos;altra.</translation>
    </message>
    <message>
        <source>The folder {folder} for {name} does not exist; create it or choose another.</source>
        <translation>La cartella {folder} per {name} non esiste; crearla o sceglierne un&apos;altra.</translation>
    </message>
    <message>
        <source>The folder {folder} for {name} is not writable; choose another.</source>
        <translation>La cartella {folder} per {name} non è scrivibile; sceglierne un&apos;altra.</translation>
    </message>
    <message>
        <source>The folder {name}</source>
        <translation>La cartella {name}</translation>
    </message>
    <message>
        <source>The folder {name} holds no masks; give a folder with one labelmap a structure.</source>
        <translation>La cartella {name} non contiene maschere; indicare una cartella con una mappa di etichette per struttura.</translation>
    </message>
    <message>
        <source>The folder {parent} does not exist; create it or choose another.</source>
        <translation>La cartella {parent} non esiste; crearla o sceglierne un&apos;altra.</translation>
    </message>
    <message>
        <source>The folder {path} holds no image that can be read; give a folder with volumes, pictures or DICOM files.</source>
        <translation>La cartella {path} non contiene immagini leggibili; indicare una cartella con volumi, immagini o file DICOM.</translation>
    </message>
    <message>
        <source>The folder {path} holds no labelmaps; check the path.</source>
        <translation>La cartella {path} non contiene mappe di etichette; controllare il percorso.</translation>
    </message>
    <message>
        <source>The folder {path} is no working folder of index add; name index files or such folders.</source>
        <translation>La cartella {path} non è una cartella di lavoro di index add; indicare file di indice o tali cartelle.</translation>
    </message>
    <message>
        <source>The four chambers of the heart and the myocardium</source>
        <translation>Le quattro camere cardiache e il miocardio</translation>
    </message>
    <message>
        <source>The frames of {name} differ in orientation or pixel size: {count} of {count2} are unlike the rest. Export each orientation as a file of its own.</source>
        <translation>I fotogrammi di {name} differiscono per orientamento o dimensione dei pixel: {count} su {count2} sono diversi dagli altri. Esportare ogni orientamento in un file separato.</translation>
    </message>
    <message>
        <source>The group &apos;{options}&apos; is not known; give {listed}.</source>
        <translation>Il gruppo &apos;{options}&apos; non è noto; indicare {listed}.</translation>
    </message>
    <message>
        <source>The header of {name} has no end; copy or export it again.</source>
        <translation>L&apos;intestazione di {name} non ha fine; copiare o esportare di nuovo il file.</translation>
    </message>
    <message>
        <source>The image has {bad} voxels that are not finite numbers (NaN or infinity); replace them and try again.</source>
        <translation>L&apos;immagine ha {bad} voxel che non sono numeri finiti (NaN o infinito); sostituirli e riprovare.</translation>
    </message>
    <message>
        <source>The image has {ndim} dimensions ({shape}); give one volume (three dimensions) at a time.</source>
        <translation>L&apos;immagine ha {ndim} dimensioni ({shape}); indicare un volume (tre dimensioni) alla volta.</translation>
    </message>
    <message>
        <source>The image has {ndim} dimensions ({sizes}); give one volume (three dimensions) at a time{count}.</source>
        <translation>L&apos;immagine ha {ndim} dimensioni ({sizes}); indicare un volume (tre dimensioni) alla volta{count}.</translation>
    </message>
    <message>
        <source>The image has {shape} numbers in every voxel and they are no colors; give one volume at a time.</source>
        <translation>L&apos;immagine ha {shape} numeri in ogni voxel che non sono colori; indicare un volume alla volta.</translation>
    </message>
    <message>
        <source>The image holds complex numbers; convert it to magnitude first.</source>
        <translation>L&apos;immagine contiene numeri complessi; convertirla prima in modulo.</translation>
    </message>
    <message>
        <source>The image holds no numbers but values of the type {dtype}; convert it first.</source>
        <translation>L&apos;immagine non contiene numeri ma valori del tipo {dtype}; convertirla prima.</translation>
    </message>
    <message>
        <source>The image holds one volume only, so there is no frame to choose: leave --frame out.</source>
        <translation>L&apos;immagine contiene un solo volume, quindi non c&apos;è un fotogramma da scegliere: non indicare --frame.</translation>
    </message>
    <message>
        <source>The image is empty: one of its sides has no voxels; load another volume.</source>
        <translation>L&apos;immagine è vuota: uno dei suoi lati non ha voxel; caricare un altro volume.</translation>
    </message>
    <message>
        <source>The image vectors have {shape} numbers and the label vectors {shape2}; embed both with the same model.</source>
        <translation>I vettori delle immagini hanno {shape} numeri e quelli delle etichette {shape2}; usare lo stesso modello per entrambi.</translation>
    </message>
    <message>
        <source>The image {name} cannot be read ({reason}); check that you may open it.</source>
        <translation>L&apos;immagine {name} non può essere letta ({reason}); controllare di avere il permesso di aprirla.</translation>
    </message>
    <message>
        <source>The image {name} cannot be read: it is damaged or of an unusual kind ({name2}).</source>
        <translation>L&apos;immagine {name} non può essere letta: è danneggiata o di un tipo insolito ({name2}).</translation>
    </message>
    <message>
        <source>The image {name} does not fit into this computer&apos;s memory; crop it or use a smaller one.</source>
        <translation>L&apos;immagine {name} non entra nella memoria di questo computer; ritagliarla o usarne una più piccola.</translation>
    </message>
    <message>
        <source>The image&apos;s axes are not at right angles, which SimpleITK cannot hold; use .array or .to_nibabel().</source>
        <translation>Gli assi dell&apos;immagine non sono ad angolo retto, cosa che SimpleITK non può rappresentare; usare .array o .to_nibabel().</translation>
    </message>
    <message>
        <source>The image&apos;s geometry (spacing and directions) cannot be used: two of its axes coincide or have no length.</source>
        <translation>La geometria dell&apos;immagine (spaziatura e direzioni) non è utilizzabile: due assi coincidono o non hanno lunghezza.</translation>
    </message>
    <message>
        <source>The images do not say where they are in the patient; they are stacked in their numbered order, {thickness:g} mm apart.</source>
        <translation>Le immagini non indicano dove si trovano nel paziente; sono impilate nell&apos;ordine dei loro numeri, a {thickness:g} mm l&apos;una dall&apos;altra.</translation>
    </message>
    <message>
        <source>The images do not state the size of their pixels; 1 mm is assumed, and volumes in ml may be wrong.</source>
        <translation>Le immagini non indicano la dimensione dei pixel; si assume 1 mm e i volumi in ml possono essere errati.</translation>
    </message>
    <message>
        <source>The images do not state their directions in the patient; right, left, front and back are assumed.</source>
        <translation>Le immagini non indicano le loro direzioni nel paziente; destra, sinistra, davanti e dietro sono presunti.</translation>
    </message>
    <message>
        <source>The images of the series differ in orientation or pixel size; {count} of {count2} are unlike the rest: {listed}. Move them out of the folder.</source>
        <translation>Le immagini della serie differiscono per orientamento o dimensione dei pixel; {count} su {count2} sono diverse dalle altre: {listed}. Spostarle fuori dalla cartella.</translation>
    </message>
    <message>
        <source>The images of the series differ in size (a scout among the slices?): unlike the rest are {odd}. Move them out of the folder.</source>
        <translation>Le immagini della serie differiscono per dimensioni (uno scout tra le sezioni?): diverse dalle altre sono {odd}. Spostarle fuori dalla cartella.</translation>
    </message>
    <message>
        <source>The images of {lower}{where} are partly gray and partly colored; unlike the rest are {odd}. Move them out of the folder.</source>
        <translation>Le immagini di {lower}{where} sono in parte in grigio e in parte a colori; diverse dalle altre sono {odd}. Spostarle fuori dalla cartella.</translation>
    </message>
    <message>
        <source>The index does not know which series are of one patient, so each series counts as a patient of its own; name a set of labels that tells the patients where that is wrong.</source>
        <translation>L&apos;indice non sa quali serie appartengono a uno stesso paziente, quindi ogni serie conta come un paziente; dove non è vero, indicare un insieme di etichette che distingua i pazienti.</translation>
    </message>
    <message>
        <source>The index has no set of labels &apos;{wanted}&apos;; {held}.</source>
        <translation>L&apos;indice non ha un insieme di etichette &apos;{wanted}&apos;; {held}.</translation>
    </message>
    <message>
        <source>The index holds no other volume that fits the conditions.</source>
        <translation>L&apos;indice non contiene altri volumi che soddisfino le condizioni.</translation>
    </message>
    <message>
        <source>The index holds one vector a volume; search in it without naming a way to compare volumes.</source>
        <translation>L&apos;indice contiene un vettore per volume; cercare senza indicare un modo di confrontare i volumi.</translation>
    </message>
    <message>
        <source>The index holds statistics of whole volumes, which no text can be compared with; make one of slices.</source>
        <translation>L&apos;indice contiene statistiche di volumi interi, con cui nessun testo può essere confrontato; crearne uno di sezioni.</translation>
    </message>
    <message>
        <source>The index holds vectors of several recipes, which are never mixed: &apos;{best}&apos; is searched, {listed} are left out.</source>
        <translation>L&apos;indice contiene vettori di più ricette, che non vengono mai mescolate: si cerca in &apos;{best}&apos;, {listed} sono esclusi.</translation>
    </message>
    <message>
        <source>The index holds vectors of {listed}, none of {describe}; use the same model and preprocessing, or index the images again with this one.</source>
        <translation>L&apos;indice contiene vettori di {listed}, nessuno di {describe}; usare lo stesso modello e la stessa preelaborazione, o indicizzare di nuovo le immagini con questo.</translation>
    </message>
    <message>
        <source>The index holds whole volumes or is of another recipe, so a part of a slice cannot be compared; index slices.</source>
        <translation>L&apos;indice contiene volumi interi o è di un&apos;altra ricetta, quindi una parte di sezione non può essere confrontata; indicizzare sezioni.</translation>
    </message>
    <message>
        <source>The index holds {what}; add images to it first.</source>
        <translation>L&apos;indice contiene {what}; aggiungere prima delle immagini.</translation>
    </message>
    <message>
        <source>The index is empty; add images to it first.</source>
        <translation>L&apos;indice è vuoto; aggiungere prima delle immagini.</translation>
    </message>
    <message>
        <source>The index was made by another recipe (&apos;{preprocessing}&apos;) that this version cannot repeat; index the images again.</source>
        <translation>L&apos;indice è stato creato con un&apos;altra ricetta (&apos;{preprocessing}&apos;) che questa versione non sa ripetere; indicizzare di nuovo le immagini.</translation>
    </message>
    <message>
        <source>The index {path} cannot be made ({why}); choose another folder.</source>
        <translation>L&apos;indice {path} non può essere creato ({why}); scegliere un&apos;altra cartella.</translation>
    </message>
    <message>
        <source>The index {path} cannot be made: that is a folder, or the folder for it does not exist.</source>
        <translation>L&apos;indice {path} non può essere creato: è una cartella, o la cartella che deve contenerlo non esiste.</translation>
    </message>
    <message>
        <source>The index {path} cannot be opened; check the folder and its permissions.</source>
        <translation>L&apos;indice {path} non può essere aperto; controllare la cartella e i suoi permessi.</translation>
    </message>
    <message>
        <source>The index {path} cannot be read ({why}); check its permissions.</source>
        <translation>L&apos;indice {path} non può essere letto ({why}); controllarne i permessi.</translation>
    </message>
    <message>
        <source>The index {path} cannot be used ({error}); check it.</source>
        <translation>L&apos;indice {path} non può essere usato ({error}); controllarlo.</translation>
    </message>
    <message>
        <source>The index {path} is closed; open it again.</source>
        <translation>L&apos;indice {path} è chiuso; aprirlo di nuovo.</translation>
    </message>
    <message>
        <source>The index {path} is damaged (a text is unreadable); {rescue_index}.</source>
        <translation>L&apos;indice {path} è danneggiato (un testo è illeggibile); {rescue_index}.</translation>
    </message>
    <message>
        <source>The index {path} is damaged ({error}); {rescue_index}: nothing was changed.</source>
        <translation>L&apos;indice {path} è danneggiato ({error}); {rescue_index}: nulla è stato modificato.</translation>
    </message>
    <message>
        <source>The index {path} is damaged: it takes far longer to read than its size explains; restore a copy.</source>
        <translation>L&apos;indice {path} è danneggiato: la lettura richiede molto più di quanto la sua dimensione spieghi; ripristinare una copia.</translation>
    </message>
    <message>
        <source>The index {path} is damaged: something in it is far larger than it can be; check it, and restore a copy.</source>
        <translation>L&apos;indice {path} è danneggiato: qualcosa al suo interno è molto più grande del possibile; controllarlo e ripristinare una copia.</translation>
    </message>
    <message>
        <source>The index {path} is damaged: {what}{details}; export the readable {readable} to a file, import that into a new index, and index the missing images again.</source>
        <translation>L&apos;indice {path} è danneggiato: {what}{details}; esportare i {readable} leggibili in un file, importarlo in un nuovo indice, e indicizzare di nuovo le immagini mancanti.</translation>
    </message>
    <message>
        <source>The index {path} is damaged; {rescue_index}: nothing was changed.</source>
        <translation>L&apos;indice {path} è danneggiato; {rescue_index}: nulla è stato modificato.</translation>
    </message>
    <message>
        <source>The index {path} is in use by another program for too long; try again when that has finished.</source>
        <translation>L&apos;indice {path} è in uso da troppo tempo da parte di un altro programma; riprovare quando questo ha finito.</translation>
    </message>
    <message>
        <source>The index {path} is read-only; change its permissions or copy it to another folder.</source>
        <translation>L&apos;indice {path} è di sola lettura; cambiarne i permessi o copiarlo in un&apos;altra cartella.</translation>
    </message>
    <message>
        <source>The index {path} is sound: {total} records, all readable.</source>
        <translation>L&apos;indice {path} è integro: {total} record, tutti leggibili.</translation>
    </message>
    <message>
        <source>The index {path} was made by a newer version of MedImageParse (format {version}; this one reads up to {own_version}); update the extension: the file was not touched.</source>
        <translation>L&apos;indice {path} è stato creato da una versione più recente di MedImageParse (formato {version}; questa legge fino al {own_version}); aggiornare l&apos;estensione: il file non è stato toccato.</translation>
    </message>
    <message>
        <source>The index {path} was moved or deleted while it was in use; put it back, or run again to make a new one.</source>
        <translation>L&apos;indice {path} è stato spostato o eliminato mentre era in uso; rimetterlo al suo posto oppure eseguire di nuovo per crearne uno nuovo.</translation>
    </message>
    <message>
        <source>The key file{path} can be read by other users of this computer: run `chmod 600` on it.</source>
        <translation>Il file della chiave{path} può essere letto da altri utenti di questo computer: eseguire `chmod 600` su di esso.</translation>
    </message>
    <message>
        <source>The key file{shown}</source>
        <translation>Il file della chiave{shown}</translation>
    </message>
    <message>
        <source>The key file{shown} cannot be read: check that it is a file that you may open.</source>
        <translation>Il file della chiave{shown} non può essere letto: controllare che sia un file che si può aprire.</translation>
    </message>
    <message>
        <source>The key file{shown} does not exist: --key-file takes the name of a file, not the key itself.</source>
        <translation>Il file della chiave{shown} non esiste: --key-file richiede il nome di un file, non la chiave stessa.</translation>
    </message>
    <message>
        <source>The key file{shown} is not text: leave only the key or token in it.</source>
        <translation>Il file della chiave{shown} non è testo: lasciarvi solo la chiave o il token.</translation>
    </message>
    <message>
        <source>The key file{shown} is too large to be a key: name the file that holds only the key.</source>
        <translation>Il file della chiave{shown} è troppo grande per essere una chiave: indicare il file che contiene solo la chiave.</translation>
    </message>
    <message>
        <source>The key or token holds a line break or an accented letter, so it was not copied right: copy it again.</source>
        <translation>La chiave o il token contiene un&apos;interruzione di riga o una lettera accentata, quindi non è stato copiato bene: copiarlo di nuovo.</translation>
    </message>
    <message>
        <source>The label &quot;{twice}&quot; is given twice in &quot;{name}&quot;; take one out.</source>
        <translation>L&apos;etichetta &quot;{twice}&quot; è indicata due volte in &quot;{name}&quot;; toglierne una.</translation>
    </message>
    <message>
        <source>The label &apos;{twice}&apos; is given twice; the two would share one probability.</source>
        <translation>L&apos;etichetta &apos;{twice}&apos; è indicata due volte; le due dividerebbero una sola probabilità.</translation>
    </message>
    <message>
        <source>The label file {name} has a header and no labels; give one label a line.</source>
        <translation>Il file di etichette {name} ha un&apos;intestazione e nessuna etichetta; indicare un&apos;etichetta per riga.</translation>
    </message>
    <message>
        <source>The label file {name} has a line without a label (&quot;{listed}&quot;); fill it in or take it out.</source>
        <translation>Il file di etichette {name} ha una riga senza etichetta (&quot;{listed}&quot;); completarla o toglierla.</translation>
    </message>
    <message>
        <source>The label file {name} is empty; give one label a line.</source>
        <translation>Il file di etichette {name} è vuoto; indicare un&apos;etichetta per riga.</translation>
    </message>
    <message>
        <source>The label file {name} is not a text in UTF-8; save it as CSV in UTF-8.</source>
        <translation>Il file di etichette {name} non è un testo in UTF-8; salvarlo come CSV in UTF-8.</translation>
    </message>
    <message>
        <source>The label file {name} is too large to be a list of labels; choose another.</source>
        <translation>Il file di etichette {name} è troppo grande per essere un elenco di etichette; sceglierne un altro.</translation>
    </message>
    <message>
        <source>The label file {path} cannot be read ({strerror}); check its name.</source>
        <translation>Il file di etichette {path} non può essere letto ({strerror}); controllarne il nome.</translation>
    </message>
    <message>
        <source>The label {label} cannot be learned, as {what} it; label more images, or leave it out.</source>
        <translation>L&apos;etichetta {label} non può essere appresa, perché {what} la ha; etichettare più immagini, o ometterla.</translation>
    </message>
    <message>
        <source>The labelmap has size {shape} and the volume {shape_kji} (kji); they must be alike.</source>
        <translation>La mappa di etichette ha dimensioni {shape} e il volume {shape_kji} (kji); devono essere uguali.</translation>
    </message>
    <message>
        <source>The labelmap&apos;s name ends with .seg.nrrd, which is a segmentation&apos;s; end it with .nrrd or .nii.gz.</source>
        <translation>Il nome della mappa di etichette termina con .seg.nrrd, che è di una segmentazione; farlo terminare con .nrrd o .nii.gz.</translation>
    </message>
    <message>
        <source>The labels of an image are one, many or auto, not &apos;{several}&apos;.</source>
        <translation>Le etichette di un&apos;immagine sono one, many o auto, non &apos;{several}&apos;.</translation>
    </message>
    <message>
        <source>The linear adapter is fitted by auto, scikit-learn or scipy, not by &apos;{engine}&apos;.</source>
        <translation>L&apos;adattatore lineare viene calcolato con auto, scikit-learn o scipy, non con &apos;{engine}&apos;.</translation>
    </message>
    <message>
        <source>The map can be made by {listed}, not by &quot;{method}&quot;.</source>
        <translation>La mappa si può creare con {listed}, non con &quot;{method}&quot;.</translation>
    </message>
    <message>
        <source>The margin is a number of millimetres, 0 or more.</source>
        <translation>Il margine è un numero di millimetri, 0 o più.</translation>
    </message>
    <message>
        <source>The mask &quot;{name}&quot; is not on the volume&apos;s grid; give masks of the volume&apos;s size.</source>
        <translation>La maschera &quot;{name}&quot; non è sulla griglia del volume; indicare maschere delle dimensioni del volume.</translation>
    </message>
    <message>
        <source>The mask &quot;{name}&quot; is {size} voxels, the volume {expected}; give masks on the volume&apos;s own grid.</source>
        <translation>La maschera &quot;{name}&quot; è di {size} voxel, il volume di {expected}; indicare maschere sulla griglia del volume.</translation>
    </message>
    <message>
        <source>The masks could not be put into the segmentation, which is as it was before; look in the log for why.</source>
        <translation>Le maschere non possono essere inserite nella segmentazione, che è rimasta come prima; il motivo è nel registro.</translation>
    </message>
    <message>
        <source>The masks could not be put into the segments, which are as they were before; look in the log for why.</source>
        <translation>Le maschere non possono essere inserite nei segmenti, che sono rimasti come prima; il motivo è nel registro.</translation>
    </message>
    <message>
        <source>The masks in {folder} lie on different grids ({name}).</source>
        <translation>Le maschere in {folder} sono su griglie diverse ({name}).</translation>
    </message>
    <message>
        <source>The model &apos;{key}&apos; cannot be deployed: choose one of {known}.</source>
        <translation>Il modello &apos;{key}&apos; non può essere distribuito: scegliere uno tra {known}.</translation>
    </message>
    <message>
        <source>The model &apos;{model}&apos; is not known: use auto, {listed}.</source>
        <translation>Il modello &apos;{model}&apos; non è noto: usare auto, {listed}.</translation>
    </message>
    <message>
        <source>The model &apos;{name}&apos; does not segment; give {listed}.</source>
        <translation>Il modello &apos;{name}&apos; non esegue segmentazioni; indicare {listed}.</translation>
    </message>
    <message>
        <source>The model behind {place} failed on this request (424{inner}): {advice}.</source>
        <translation>Il modello dietro {place} non è riuscito con questa richiesta (424{inner}): {advice}.</translation>
    </message>
    <message>
        <source>The model took longer than its deployment allows ({shown}, after {duration}): send a smaller volume, fewer prompts or a smaller batch, or have its request timeout raised to 180 s.</source>
        <translation>Il modello ha impiegato più tempo di quanto la sua distribuzione consenta ({shown}, dopo {duration}): inviare un volume più piccolo, meno prompt o un lotto più piccolo, o far aumentare il tempo massimo di richiesta a 180 s.</translation>
    </message>
    <message>
        <source>The model&apos;s version is a whole number; &apos;{version}&apos; is not.</source>
        <translation>La versione del modello è un numero intero; &apos;{version}&apos; non lo è.</translation>
    </message>
    <message>
        <source>The models&apos; documents recommend &quot;{names}&quot; for {listed}, not for {modality}; look at the result closely.</source>
        <translation>I documenti dei modelli consigliano &quot;{names}&quot; per {listed}, non per {modality}; esaminare con attenzione il risultato.</translation>
    </message>
    <message>
        <source>The name &apos;{name}&apos; is taken by another endpoint: choose another with --name.</source>
        <translation>Il nome &apos;{name}&apos; è usato da un altro endpoint: sceglierne un altro con --name.</translation>
    </message>
    <message>
        <source>The name of an image is empty, which would stand for the whole current folder; name the image.</source>
        <translation>Il nome di un&apos;immagine è vuoto e indicherebbe l&apos;intera cartella corrente; indicare l&apos;immagine.</translation>
    </message>
    <message>
        <source>The name {host}</source>
        <translation>Il nome {host}</translation>
    </message>
    <message>
        <source>The name {part}… is longer than a file&apos;s name may be (255 bytes): choose a shorter one.</source>
        <translation>Il nome {part}… è più lungo di quanto un nome di file possa essere (255 byte): sceglierne uno più corto.</translation>
    </message>
    <message>
        <source>The names of a model, deployment, engine and preprocessing must be texts of a usual length.</source>
        <translation>I nomi di modello, distribuzione, motore e preelaborazione devono essere testi di lunghezza normale.</translation>
    </message>
    <message>
        <source>The nibabel image has no affine, so nobody knows where it lies; give it one and try again.</source>
        <translation>L&apos;immagine nibabel non ha un affine, quindi non si sa dove si trovi; dargliene uno e riprovare.</translation>
    </message>
    <message>
        <source>The number of images in a request must be between 1 and {most_in_batch}.</source>
        <translation>Il numero di immagini in una richiesta deve essere tra 1 e {most_in_batch}.</translation>
    </message>
    <message>
        <source>The number of machines must be 1 to 20.</source>
        <translation>Il numero di macchine deve essere da 1 a 20.</translation>
    </message>
    <message>
        <source>The number of neighbors must be at least 1.</source>
        <translation>Il numero di vicini deve essere almeno 1.</translation>
    </message>
    <message>
        <source>The number of requests at once must be between 1 and {most_at_once}.</source>
        <translation>Il numero di richieste contemporanee deve essere tra 1 e {most_at_once}.</translation>
    </message>
    <message>
        <source>The number of results must be at least 1.</source>
        <translation>Il numero di risultati deve essere almeno 1.</translation>
    </message>
    <message>
        <source>The number of tries must be at least 1 (the first one counts).</source>
        <translation>Il numero di tentativi deve essere almeno 1 (conta anche il primo).</translation>
    </message>
    <message>
        <source>The option {name} is {listed}, not of the type {name2}.</source>
        <translation>L&apos;opzione {name} è {listed}, non del tipo {name2}.</translation>
    </message>
    <message>
        <source>The orientation &apos;{orient}&apos; is not known; give trained, radiological or vote.</source>
        <translation>L&apos;orientamento &apos;{orient}&apos; non è noto; indicare trained, radiological o vote.</translation>
    </message>
    <message>
        <source>The package urllib3 {version} in this Python has known faults; update it to {wanted} or later (in 3D Slicer&apos;s Python console: slicer.util.pip_install(&apos;urllib3&gt;={wanted}&apos;)).</source>
        <translation>Il pacchetto urllib3 {version} in questo Python ha difetti noti; aggiornarlo a {wanted} o successivo (nella console Python di 3D Slicer: slicer.util.pip_install(&apos;urllib3&gt;={wanted}&apos;)).</translation>
    </message>
    <message>
        <source>The package {package} does not hold the weights: report that.</source>
        <translation>Il pacchetto {package} non contiene i pesi: segnalarlo.</translation>
    </message>
    <message>
        <source>The package {package}, which {purpose} needs, is not installed: {install}{rest}.</source>
        <translation>Il pacchetto {package}, necessario per {purpose}, non è installato: {install}{rest}.</translation>
    </message>
    <message>
        <source>The path {path} cannot be used ({why}): check its spelling, its length and its permissions.</source>
        <translation>Il percorso {path} non può essere usato ({why}): controllarne l&apos;ortografia, la lunghezza e i permessi.</translation>
    </message>
    <message>
        <source>The percentages compare the given labels with one another and always add up to 100 %: they are not the chance that a patient has a finding. A label that fits nothing still gets its share, and leaving out the right label raises the wrong ones. Check them on cases of your own with known answers before relying on them.</source>
        <translation>Le percentuali confrontano tra loro le etichette indicate e sommano sempre a 100 %: non sono la probabilità che un paziente abbia un reperto. Un&apos;etichetta che non corrisponde a nulla riceve comunque la sua quota, e omettere quella giusta aumenta quelle sbagliate. Verificarle su casi propri con risposte note prima di farvi affidamento.</translation>
    </message>
    <message>
        <source>The picture has 16 bits a color channel; only the upper 8 are used.</source>
        <translation>L&apos;immagine ha 16 bit per canale di colore; vengono usati solo gli 8 superiori.</translation>
    </message>
    <message>
        <source>The picture {name} has too many pixels; crop it or scale it down first.</source>
        <translation>L&apos;immagine {name} ha troppi pixel; ritagliarla o ridurla prima.</translation>
    </message>
    <message>
        <source>The picture {name} holds {pages} pages; save the one that you want as a file of its own.</source>
        <translation>L&apos;immagine {name} contiene {pages} pagine; salvare quella desiderata in un file a parte.</translation>
    </message>
    <message>
        <source>The picture {name} is damaged, incomplete or no picture at all; export it again.</source>
        <translation>L&apos;immagine {name} è danneggiata, incompleta o non è un&apos;immagine; esportarla di nuovo.</translation>
    </message>
    <message>
        <source>The pixels of a DICOM file ({name}{kind}) cannot be decoded; {way}.</source>
        <translation>I pixel di un file DICOM ({name}{kind}) non possono essere decodificati; {way}.</translation>
    </message>
    <message>
        <source>The plane &apos;{plane}&apos; is not known; give axial, coronal or sagittal.</source>
        <translation>Il piano &apos;{plane}&apos; non è noto; indicare axial, coronal o sagittal.</translation>
    </message>
    <message>
        <source>The pooling &apos;{how}&apos; is not known; give mean or statistics.</source>
        <translation>L&apos;aggregazione &apos;{how}&apos; non è nota; indicare mean o statistics.</translation>
    </message>
    <message>
        <source>The pooling &apos;{pool}&apos; is not known; give none, mean or statistics.</source>
        <translation>L&apos;aggregazione &apos;{pool}&apos; non è nota; indicare none, mean o statistics.</translation>
    </message>
    <message>
        <source>The preset {name} comes with the program; give yours another name.</source>
        <translation>Il predefinito {name} fa parte del programma; dare un altro nome al proprio.</translation>
    </message>
    <message>
        <source>The preset {name} has more than {most_prompts} prompts.</source>
        <translation>Il predefinito {name} ha più di {most_prompts} prompt.</translation>
    </message>
    <message>
        <source>The preset {name} is for the model {model}, not {model2}; for {model2} there are {fitting}.</source>
        <translation>Il predefinito {name} è per il modello {model}, non per {model2}; per {model2} ci sono {fitting}.</translation>
    </message>
    <message>
        <source>The presets cannot be kept in {path}: make its folder writable.</source>
        <translation>I predefiniti non possono essere conservati in {path}: rendere scrivibile la cartella.</translation>
    </message>
    <message>
        <source>The presets in {name} are larger than 1 MB, so they cannot be a list of prompts.</source>
        <translation>I predefiniti in {name} superano 1 MB, quindi non possono essere un elenco di prompt.</translation>
    </message>
    <message>
        <source>The presets in {path} are not a JSON object of name and preset: correct the file, or move it away.</source>
        <translation>I predefiniti in {path} non sono un oggetto JSON di nomi e predefiniti: correggere il file o spostarlo.</translation>
    </message>
    <message>
        <source>The presets in {path} cannot be read: correct the file as JSON, or move it away.</source>
        <translation>I predefiniti in {path} non possono essere letti: correggere il file come JSON o spostarlo.</translation>
    </message>
    <message>
        <source>The presets in {path} cannot be used: {lower}{error}</source>
        <translation>I predefiniti in {path} non possono essere usati: {lower}{error}</translation>
    </message>
    <message>
        <source>The probabilities have size {shape} and the volume {shape_kji} (kji); they must be alike.</source>
        <translation>Le probabilità hanno dimensioni {shape} e il volume {shape_kji} (kji); devono essere uguali.</translation>
    </message>
    <message>
        <source>The profile &quot;{name}&quot; asks Entra for a token for {scope}, which is not Azure ML&apos;s, and its host would get it: if you trust that host with it, {name_scope}.</source>
        <translation>Il profilo &quot;{name}&quot; chiede a Entra un token per {scope}, che non è quello di Azure ML, e il suo host lo riceverebbe: se si considera attendibile questo host, {name_scope}.</translation>
    </message>
    <message>
        <source>The profile &quot;{name}&quot; is for {model}, not for {model2}; choose another profile.</source>
        <translation>Il profilo &quot;{name}&quot; è per {model}, non per {model2}; scegliere un altro profilo.</translation>
    </message>
    <message>
        <source>The profile file was damaged and has been put aside as {aside}: start again, and copy back from there what you need.</source>
        <translation>Il file dei profili era danneggiato ed è stato messo da parte come {aside}: ricominciare, e ricopiare da lì ciò che serve.</translation>
    </message>
    <message>
        <source>The profile file {path} cannot be read: {strerror}.</source>
        <translation>Il file dei profili {path} non può essere letto: {strerror}.</translation>
    </message>
    <message>
        <source>The profile file {path} cannot be written: {strerror}.</source>
        <translation>Il file dei profili {path} non può essere scritto: {strerror}.</translation>
    </message>
    <message>
        <source>The profile has no key, because you may not read the key of &quot;{name}&quot; (it takes the permission {permission}): ask its owner for the key or for that permission.</source>
        <translation>Il profilo non ha una chiave, perché non si è autorizzati a leggere la chiave di &quot;{name}&quot; (richiede l&apos;autorizzazione {permission}): chiedere al proprietario la chiave o tale autorizzazione.</translation>
    </message>
    <message>
        <source>The profile wants to sign in at {host}, which is not one of Microsoft&apos;s sign-in hosts: if you trust it with your account, say so in the profile (allow_other_authority).</source>
        <translation>Il profilo chiede di accedere presso {host}, che non è un host di accesso di Microsoft: se lo si ritiene affidabile per il proprio account, indicarlo nel profilo (allow_other_authority).</translation>
    </message>
    <message>
        <source>The profiles would be too large together for {name}: keep fewer, or smaller ones.</source>
        <translation>I profili insieme sarebbero troppo grandi per {name}: conservarne meno, o più piccoli.</translation>
    </message>
    <message>
        <source>The prompt {prompt} holds {separators}, which separates nothing; for several structures write {advised}.</source>
        <translation>Il prompt {prompt} contiene {separators}, che non separa nulla; per più strutture scrivere {advised}.</translation>
    </message>
    <message>
        <source>The prompt {prompt} is about {tokens} tokens long and the model reads {clip_tokens}, so its end may be cut off: use fewer words.</source>
        <translation>Il prompt {prompt} è lungo circa {tokens} token e il modello ne legge {clip_tokens}, quindi la fine può essere tagliata: usare meno parole.</translation>
    </message>
    <message>
        <source>The prompt {prompt} is not a known target and was sent as it is; did you mean {listed}?</source>
        <translation>Il prompt {prompt} non è una struttura nota ed è stato inviato così com&apos;è; forse si intendeva {listed}?</translation>
    </message>
    <message>
        <source>The prompt {prompt} is not a known target and was sent as it is; no known target is written like it.</source>
        <translation>Il prompt {prompt} non è una struttura nota ed è stato inviato così com&apos;è; nessuna struttura nota si scrive in modo simile.</translation>
    </message>
    <message>
        <source>The prompt {prompt} speaks of {said} and the image is {modality}.</source>
        <translation>Il prompt {prompt} parla di {said} e l&apos;immagine è {modality}.</translation>
    </message>
    <message>
        <source>The prompt {quoted} holds &quot;[SEP]&quot;, which the model uses itself: leave it out.</source>
        <translation>Il prompt {quoted} contiene &quot;[SEP]&quot;, che è usato dal modello stesso: toglierlo.</translation>
    </message>
    <message>
        <source>The prompt {quoted} holds a control or invisible character (U+{ord:04X}): type it anew without it.</source>
        <translation>Il prompt {quoted} contiene un carattere di controllo o invisibile (U+{ord:04X}): digitarlo di nuovo senza.</translation>
    </message>
    <message>
        <source>The prompt {quoted} is given twice: leave one out.</source>
        <translation>Il prompt {quoted} è indicato due volte: toglierne uno.</translation>
    </message>
    <message>
        <source>The prompts of the preset {name!r} have to be a list of texts.</source>
        <translation>I prompt del predefinito {name!r} devono essere un elenco di testi.</translation>
    </message>
    <message>
        <source>The prompts went in {count} requests, because targets that contain each other or mean the same ({listed}) can suppress one another in one request to MedImageParse 3D.</source>
        <translation>I prompt sono stati inviati in {count} richieste, perché strutture che si contengono o hanno lo stesso significato ({listed}) possono escludersi a vicenda in una sola richiesta a MedImageParse 3D.</translation>
    </message>
    <message>
        <source>The protocol &apos;{protocol}&apos; is not known; give plain, cvpr25 or amos.</source>
        <translation>Il protocollo &apos;{protocol}&apos; non è noto; indicare plain, cvpr25 o amos.</translation>
    </message>
    <message>
        <source>The proxy did not let a request to {host} through: check its address and sign-in.</source>
        <translation>Il proxy non ha lasciato passare una richiesta a {host}: controllarne l&apos;indirizzo e l&apos;accesso.</translation>
    </message>
    <message>
        <source>The proxy did not let the sign-in through: check the proxy&apos;s address and whether it asks for a sign-in of its own.</source>
        <translation>Il proxy non ha lasciato passare l&apos;accesso: controllare l&apos;indirizzo del proxy e se richiede un accesso proprio.</translation>
    </message>
    <message>
        <source>The proxy {host}:{port} is a {kind} proxy, which is not spoken here: name an http proxy, or {otherwise}.</source>
        <translation>Il proxy {host}:{port} è un proxy {kind}, che qui non è usato: indicare un proxy http, oppure {otherwise}.</translation>
    </message>
    <message>
        <source>The proxy {proxy} asks for a sign-in (407): put http://name:password@{proxy} into HTTPS_PROXY, or ask its administrators to let {place} through.</source>
        <translation>Il proxy {proxy} chiede un accesso (407): inserire http://nome:password@{proxy} in HTTPS_PROXY, o chiedere ai suoi amministratori di lasciar passare {place}.</translation>
    </message>
    <message>
        <source>The proxy {proxy} did not pass the request on to {place}{said}: ask its administrators to let that host through.</source>
        <translation>Il proxy {proxy} non ha inoltrato la richiesta a {place}{said}: chiedere ai suoi amministratori di lasciar passare questo host.</translation>
    </message>
    <message>
        <source>The proxy&apos;s address</source>
        <translation>L&apos;indirizzo del proxy</translation>
    </message>
    <message>
        <source>The proxy&apos;s address cannot be read: it should look like http://proxy.example:8080, or http://name:password@proxy.example:8080 with signs such as # in the password written as %23.</source>
        <translation>L&apos;indirizzo del proxy non è leggibile: dovrebbe essere simile a http://proxy.example:8080, o http://name:password@proxy.example:8080 con i segni come # nella password scritti come %23.</translation>
    </message>
    <message>
        <source>The proxy&apos;s name {host}</source>
        <translation>Il nome del proxy {host}</translation>
    </message>
    <message>
        <source>The quota in {location} does not suffice: {listed}. Ask for more under Quotas in Azure Machine Learning studio, choose another --instance, or try --shared-quota (Azure deletes such an endpoint after 168 hours).</source>
        <translation>La quota in {location} non basta: {listed}. Chiederne di più sotto Quote in Azure Machine Learning studio, scegliere un&apos;altra --instance, o provare --shared-quota (Azure elimina un endpoint di questo tipo dopo 168 ore).</translation>
    </message>
    <message>
        <source>The quota of your subscription does not cover these machines. On Azure&apos;s shared quota an endpoint is deleted after 168 hours.</source>
        <translation>La quota della sottoscrizione non copre queste macchine. Con la quota condivisa di Azure un endpoint viene eliminato dopo 168 ore.</translation>
    </message>
    <message>
        <source>The rate of false alarms is between 0 and 1, such as 0.05.</source>
        <translation>Il tasso di falsi allarmi è tra 0 e 1, per esempio 0.05.</translation>
    </message>
    <message>
        <source>The recipe &apos;{recipe}&apos; is none of this version&apos;s; copy it from what `index info` prints.</source>
        <translation>La ricetta &apos;{recipe}&apos; non è di questa versione; copiarla da ciò che mostra `index info`.</translation>
    </message>
    <message>
        <source>The record of the engine {name} is damaged: remove the engine, and add it again.</source>
        <translation>Il record del motore {name} è danneggiato: rimuovere il motore e aggiungerlo di nuovo.</translation>
    </message>
    <message>
        <source>The reference set has too few members to compare anything with; enlarge it.</source>
        <translation>L&apos;insieme di riferimento ha troppo pochi elementi per un confronto; ampliarlo.</translation>
    </message>
    <message>
        <source>The reference set has too few members to learn from; enlarge it.</source>
        <translation>L&apos;insieme di riferimento ha troppo pochi elementi per l&apos;addestramento; ampliarlo.</translation>
    </message>
    <message>
        <source>The reference set has {available} other members, too few for {neighbors} neighbors</source>
        <translation>L&apos;insieme di riferimento ha altri {available} elementi, troppo pochi per {neighbors} vicini</translation>
    </message>
    <message>
        <source>The reference set of {count} is too small to expect {false_alarms:g} false alarms; its largest own distance is the threshold.</source>
        <translation>L&apos;insieme di riferimento di {count} elementi è troppo piccolo per attendersi {false_alarms:g} falsi allarmi; la soglia è la sua massima distanza interna.</translation>
    </message>
    <message>
        <source>The reference {name} fits several predictions ({found}); keep one of them.</source>
        <translation>Il riferimento {name} corrisponde a più predizioni ({found}); tenerne una.</translation>
    </message>
    <message>
        <source>The region &apos;{text}&apos; is empty or reaches outside the volume, which has {sizes} voxels.</source>
        <translation>La regione &apos;{text}&apos; è vuota o esce dal volume, che ha {sizes} voxel.</translation>
    </message>
    <message>
        <source>The region &apos;{text}&apos; is not understood; give I0:I1,J0:J1,K0:K1 in voxels, for example 40:300,60:280,0:90.</source>
        <translation>La regione &apos;{text}&apos; non è comprensibile; indicare I0:I1,J0:J1,K0:K1 in voxel, per esempio 40:300,60:280,0:90.</translation>
    </message>
    <message>
        <source>The region does not reach slice {index}: it spans slices {start} to {value}; go to one of these.</source>
        <translation>La regione non raggiunge la sezione {index}: va dalla sezione {start} alla {value}; andare a una di queste.</translation>
    </message>
    <message>
        <source>The region must be a region of interest (ROI) from the Markups module, or text such as 40:300,60:280,0:90.</source>
        <translation>La regione deve essere una regione di interesse (ROI) del modulo Markups, o un testo come 40:300,60:280,0:90.</translation>
    </message>
    <message>
        <source>The region of interest holds no voxel of the volume; move it onto the volume or make it larger.</source>
        <translation>La regione di interesse non contiene voxel del volume; spostarla sul volume o ingrandirla.</translation>
    </message>
    <message>
        <source>The region {location} has no {names}: choose another with --instance, or a workspace in another region.</source>
        <translation>La regione {location} non ha {names}: sceglierne un&apos;altra con --instance, o un&apos;area di lavoro in un&apos;altra regione.</translation>
    </message>
    <message>
        <source>The reply carries no probabilities, so no probability volume was written.</source>
        <translation>La risposta non contiene probabilità, quindi non è stato scritto un volume di probabilità.</translation>
    </message>
    <message>
        <source>The reply has no image_features; another model may be behind this URL: {row}</source>
        <translation>La risposta non ha image_features; dietro questo URL potrebbe esserci un altro modello: {row}</translation>
    </message>
    <message>
        <source>The reply has no nifti_file; another model may be behind this URL: {row}</source>
        <translation>La risposta non contiene nifti_file; dietro questo URL potrebbe esserci un altro modello: {row}</translation>
    </message>
    <message>
        <source>The reply has no usable {column}; another model may be behind this URL: {row}</source>
        <translation>La risposta non ha un {column} utilizzabile; dietro questo URL potrebbe esserci un altro modello: {row}</translation>
    </message>
    <message>
        <source>The reply has the shape {times} where {times2} was sent.</source>
        <translation>La risposta ha la forma {times}, mentre è stato inviato {times2}.</translation>
    </message>
    <message>
        <source>The reply held labels beyond the {prompts} prompts ({listed}); they count as background.</source>
        <translation>La risposta conteneva etichette oltre i {prompts} prompt ({listed}); contano come sfondo.</translation>
    </message>
    <message>
        <source>The reply held values that are no numbers (NaN); they count as background.</source>
        <translation>La risposta conteneva valori che non sono numeri (NaN); contano come sfondo.</translation>
    </message>
    <message>
        <source>The reply of {place} does not follow the rules of HTTP: check the URL, and whether a proxy is in between.</source>
        <translation>La risposta di {place} non segue le regole di HTTP: controllare l&apos;URL, e se c&apos;è un proxy in mezzo.</translation>
    </message>
    <message>
        <source>The reply of {place} is compressed ({encoding}), which was not asked for, so it was not read: check whether a proxy is in between, and have compression switched off there or at the endpoint.</source>
        <translation>La risposta di {place} è compressa ({encoding}), cosa non richiesta, quindi non è stata letta: controllare se c&apos;è un proxy in mezzo, e far disattivare la compressione lì o nell&apos;endpoint.</translation>
    </message>
    <message>
        <source>The reply of {place} is cut off after {size:,} bytes (it ends in “{said_end}”): try again, and see the endpoint&apos;s log if it stays so.</source>
        <translation>La risposta di {place} è troncata dopo {size:,} byte (termina con “{said_end}”): riprovare, e se il problema resta vedere il registro dell&apos;endpoint.</translation>
    </message>
    <message>
        <source>The reply of {place} {said} the {limit} that this request can need: check that the URL is the right endpoint.</source>
        <translation>La risposta di {place} {said} i {limit} che questa richiesta può richiedere: controllare che l&apos;URL sia quello dell&apos;endpoint giusto.</translation>
    </message>
    <message>
        <source>The reply&apos;s NIfTI has the shape {times} where {times2} was sent with {prompts} prompts.</source>
        <translation>Il NIfTI della risposta ha la forma {times}, mentre è stato inviato {times2} con {prompts} prompt.</translation>
    </message>
    <message>
        <source>The reply&apos;s NIfTI is 3D with values between {min:g} and {max:g} that are neither whole labels nor the probabilities of one prompt ({prompts} were sent); send the prompts one by one.</source>
        <translation>Il NIfTI della risposta è 3D con valori tra {min:g} e {max:g} che non sono né etichette intere né le probabilità di un solo prompt (ne sono stati inviati {prompts}); inviare i prompt uno alla volta.</translation>
    </message>
    <message>
        <source>The reply&apos;s axes were permuted ({given}); they were put right.</source>
        <translation>Gli assi della risposta erano permutati ({given}); sono stati corretti.</translation>
    </message>
    <message>
        <source>The reply&apos;s axes were permuted ({shape_ijk}); they were put right.</source>
        <translation>Gli assi della risposta erano permutati ({shape_ijk}); sono stati corretti.</translation>
    </message>
    <message>
        <source>The reply&apos;s nifti_file cannot be read: {error}</source>
        <translation>Il nifti_file della risposta non può essere letto: {error}</translation>
    </message>
    <message>
        <source>The reply&apos;s shape {times} is a permutation of {times2} that can be read in more than one way.</source>
        <translation>La forma della risposta {times} è una permutazione di {times2} che si può leggere in più modi.</translation>
    </message>
    <message>
        <source>The reply&apos;s text_features are {length:,} characters long, far more than they can need: {cell}</source>
        <translation>I text_features della risposta sono lunghi {length:,} caratteri, molti più del necessario: {cell}</translation>
    </message>
    <message>
        <source>The reply&apos;s {column} have different lengths: {body}</source>
        <translation>I {column} della risposta hanno lunghezze diverse: {body}</translation>
    </message>
    <message>
        <source>The reply&apos;s {name} has the shape {shape} where {list} was expected: {head}</source>
        <translation>Il campo {name} della risposta ha la forma {shape} dove era atteso {list}: {head}</translation>
    </message>
    <message>
        <source>The reply&apos;s {name} holds {count} bytes, which do not fit its shape {list} of {dtype}.</source>
        <translation>Il campo {name} della risposta contiene {count} byte, che non corrispondono alla sua forma {list} di {dtype}.</translation>
    </message>
    <message>
        <source>The reply&apos;s {name} is none of the documented forms: {cell}</source>
        <translation>Il campo {name} della risposta non ha nessuna delle forme documentate: {cell}</translation>
    </message>
    <message>
        <source>The reply&apos;s {name} is of type {dtype}, which no documented form has: {head}</source>
        <translation>Il campo {name} della risposta è di tipo {dtype}, che nessuna forma documentata ha: {head}</translation>
    </message>
    <message>
        <source>The report&apos;s name must end with .json, which &apos;{name}&apos; does not: give --report FILE.json.</source>
        <translation>Il nome del rapporto deve terminare con .json, e &apos;{name}&apos; no: indicare --report FILE.json.</translation>
    </message>
    <message>
        <source>The request would be {size} and this endpoint takes {limit} at most: {smaller}.</source>
        <translation>La richiesta sarebbe di {size} e questo endpoint accetta al massimo {limit}: {smaller}.</translation>
    </message>
    <message>
        <source>The result has no {prompt}; it has {listed}.</source>
        <translation>Il risultato non ha {prompt}; ha {listed}.</translation>
    </message>
    <message>
        <source>The result {path} would replace a file among the settings of this program: choose another output folder.</source>
        <translation>Il risultato {path} sostituirebbe un file tra le impostazioni di questo programma: scegliere un&apos;altra cartella per i risultati.</translation>
    </message>
    <message>
        <source>The result {path} would replace {read}, which is read: choose another output folder.</source>
        <translation>Il risultato {path} sostituirebbe {read}, che viene letto: scegliere un&apos;altra cartella per i risultati.</translation>
    </message>
    <message>
        <source>The run stopped before these prompts had their answer: {missing}.</source>
        <translation>L&apos;esecuzione si è fermata prima che questi prompt avessero una risposta: {missing}.</translation>
    </message>
    <message>
        <source>The run stopped before these slices had their answer: {listed}.</source>
        <translation>L&apos;esecuzione si è fermata prima che queste sezioni avessero una risposta: {listed}.</translation>
    </message>
    <message>
        <source>The scaling factor {scaling_factor} is not usable; it is a logarithm near 4.5 for the published model.</source>
        <translation>Il fattore di scala {scaling_factor} non è utilizzabile; è un logaritmo vicino a 4.5 per il modello pubblicato.</translation>
    </message>
    <message>
        <source>The scene was closed while it was being indexed; what had been stored is kept.</source>
        <translation>La scena è stata chiusa durante l&apos;indicizzazione; ciò che era memorizzato è conservato.</translation>
    </message>
    <message>
        <source>The scene was closed while the job was running, so its result was dropped.</source>
        <translation>La scena è stata chiusa durante il lavoro, quindi il risultato è stato scartato.</translation>
    </message>
    <message>
        <source>The seed must be a whole number of 0 or more.</source>
        <translation>Il seme deve essere un numero intero maggiore o uguale a 0.</translation>
    </message>
    <message>
        <source>The segment &quot;{name}&quot; is empty; choose another.</source>
        <translation>Il segmento &quot;{name}&quot; è vuoto; sceglierne un altro.</translation>
    </message>
    <message>
        <source>The segment &quot;{name}&quot; lies outside of the volume; choose another.</source>
        <translation>Il segmento &quot;{name}&quot; è fuori dal volume; sceglierne un altro.</translation>
    </message>
    <message>
        <source>The segment was deleted while the job was running, so its result was dropped and nothing was changed.</source>
        <translation>Il segmento è stato eliminato durante il lavoro, quindi il risultato è stato scartato e non è cambiato nulla.</translation>
    </message>
    <message>
        <source>The segmentation &quot;{name}&quot; and the volume are under different transforms that are not linear; put both under the same transform, or choose a new segmentation.</source>
        <translation>La segmentazione &quot;{name}&quot; e il volume sono sotto trasformazioni diverse non lineari; metterli sotto la stessa trasformazione, o scegliere una nuova segmentazione.</translation>
    </message>
    <message>
        <source>The segmentation &quot;{name}&quot; is not made of voxels (binary labelmaps), and adding masks would change their shape; make binary labelmap its source representation, or choose a new segmentation.</source>
        <translation>La segmentazione &quot;{name}&quot; non è fatta di voxel (mappe di etichette binarie), e aggiungere maschere ne cambierebbe la forma; rendere la mappa di etichette binaria la sua rappresentazione sorgente, o scegliere una nuova segmentazione.</translation>
    </message>
    <message>
        <source>The segmentation and the volume are in different scenes; choose a segmentation of the volume&apos;s scene.</source>
        <translation>La segmentazione e il volume sono in scene diverse; scegliere una segmentazione della scena del volume.</translation>
    </message>
    <message>
        <source>The segmentation has no geometry; choose a source volume in the Segment Editor.</source>
        <translation>La segmentazione non ha una geometria; scegliere un volume sorgente nel Segment Editor.</translation>
    </message>
    <message>
        <source>The segmentation was deleted while the job was running, so the result was dropped and nothing was imported.</source>
        <translation>La segmentazione è stata eliminata durante il lavoro, quindi il risultato è stato scartato e non è stato importato nulla.</translation>
    </message>
    <message>
        <source>The segmentation&apos;s name must end with {suffix}, which &apos;{name}&apos; does not; for a labelmap use --labels.</source>
        <translation>Il nome della segmentazione deve terminare con {suffix}, e &apos;{name}&apos; no; per una mappa di etichette usare --labels.</translation>
    </message>
    <message>
        <source>The sequence has no such frame any more.</source>
        <translation>La sequenza non ha più questo fotogramma.</translation>
    </message>
    <message>
        <source>The sequence was removed from the scene.</source>
        <translation>La sequenza è stata rimossa dalla scena.</translation>
    </message>
    <message>
        <source>The series &quot;{name}&quot;</source>
        <translation>La serie &quot;{name}&quot;</translation>
    </message>
    <message>
        <source>The series lacks what a DICOM segmentation must repeat ({reason}).</source>
        <translation>Alla serie manca ciò che una segmentazione DICOM deve ripetere ({reason}).</translation>
    </message>
    <message>
        <source>The set &apos;{labels}&apos; must call some of the ranked images unusual and others not; name its unusual labels: those outside the reference set have {listed}.</source>
        <translation>L&apos;insieme &apos;{labels}&apos; deve indicare come insolite alcune delle immagini ordinate e altre no; indicare le sue etichette insolite: quelle fuori dall&apos;insieme di riferimento hanno {listed}.</translation>
    </message>
    <message>
        <source>The set &apos;{write}&apos; is what the adapter learned from; give its answers a set of their own.</source>
        <translation>L&apos;insieme &apos;{write}&apos; è quello da cui l&apos;adattatore ha appreso; dare alle sue risposte un insieme proprio.</translation>
    </message>
    <message>
        <source>The set has {count} different labels, and an adapter tells at most 1000 apart; name only those that matter.</source>
        <translation>L&apos;insieme ha {count} etichette diverse, e un adattatore ne distingue al massimo 1000; indicare solo quelle che contano.</translation>
    </message>
    <message>
        <source>The set has {count} different labels, and an adapter tells at most {most} apart; name only those that matter.</source>
        <translation>L&apos;insieme ha {count} etichette diverse, e un adattatore ne distingue al massimo {most}; indicare solo quelle che contano.</translation>
    </message>
    <message>
        <source>The shares for testing and for choosing must be 0 or more, and together at most 0.8.</source>
        <translation>Le quote per la prova e per la scelta devono essere 0 o più, e insieme al massimo 0.8.</translation>
    </message>
    <message>
        <source>The sign-in host has to be a host name or an https URL, e.g. login.microsoftonline.us.</source>
        <translation>L&apos;host di accesso deve essere un nome di host o un URL https, per esempio login.microsoftonline.us.</translation>
    </message>
    <message>
        <source>The sign-in server {where} cannot be reached: check the network and the proxy, then try again.</source>
        <translation>Il server di accesso {where} non è raggiungibile: controllare la rete e il proxy, poi riprovare.</translation>
    </message>
    <message>
        <source>The sign-in was cancelled.</source>
        <translation>L&apos;accesso è stato annullato.</translation>
    </message>
    <message>
        <source>The sign-in was declined: start again and approve it.</source>
        <translation>L&apos;accesso è stato rifiutato: ricominciare e approvarlo.</translation>
    </message>
    <message>
        <source>The sign-in with {how} failed: check the tenant id, the client id and the sign-in host, then try again.</source>
        <translation>L&apos;accesso con {how} non è riuscito: controllare l&apos;ID del tenant, l&apos;ID del client e l&apos;host di accesso, poi riprovare.</translation>
    </message>
    <message>
        <source>The sketches beside {path} cannot be written ({why}); make room, or go on without them.</source>
        <translation>Gli schizzi accanto a {path} non possono essere scritti ({why}); fare spazio, o procedere senza.</translation>
    </message>
    <message>
        <source>The slabs &apos;{setting}&apos; are not understood; give none, auto or a number of slabs.</source>
        <translation>I blocchi &apos;{setting}&apos; non sono comprensibili; indicare none, auto o un numero di blocchi.</translation>
    </message>
    <message>
        <source>The slice views show no part of the volume together; move them onto it, or choose another region.</source>
        <translation>Le viste di sezione non mostrano insieme alcuna parte del volume; spostarle su di esso, o scegliere un&apos;altra regione.</translation>
    </message>
    <message>
        <source>The slices &apos;{text}&apos; are not in the volume; along this plane it has slices 0 to {value}.</source>
        <translation>Le sezioni &apos;{text}&apos; non sono nel volume; lungo questo piano ha sezioni da 0 a {value}.</translation>
    </message>
    <message>
        <source>The slices &apos;{text}&apos; are not understood; give one index (15), a range (10:20) or all.</source>
        <translation>Le sezioni &apos;{text}&apos; non sono comprensibili; indicare un indice (15), un intervallo (10:20) o all.</translation>
    </message>
    <message>
        <source>The slices are shifted against one another by up to {sideways:.2g} mm; they are stacked in a straight line.</source>
        <translation>Le sezioni sono spostate l&apos;una rispetto all&apos;altra fino a {sideways:.2g} mm; vengono impilate in linea retta.</translation>
    </message>
    <message>
        <source>The slices of the result are not the images of the series one by one, so it cannot be written as DICOM.</source>
        <translation>Le sezioni del risultato non corrispondono una per una alle immagini della serie, quindi non può essere scritto come DICOM.</translation>
    </message>
    <message>
        <source>The slices of this volume are 0 to {value}; choose among these.</source>
        <translation>Le sezioni di questo volume vanno da 0 a {value}; scegliere tra queste.</translation>
    </message>
    <message>
        <source>The smallest size of separate structures is a number of millilitres, 0 or more.</source>
        <translation>La dimensione minima delle strutture separate è un numero di millilitri, 0 o più.</translation>
    </message>
    <message>
        <source>The strength must be a number above 0, or 0 to have it chosen.</source>
        <translation>La forza deve essere un numero maggiore di 0, o 0 per farla scegliere.</translation>
    </message>
    <message>
        <source>The system&apos;s keyring refused ({name}): unlock it and try again, or keep the key in {key_variable} or a file.</source>
        <translation>Il portachiavi del sistema ha rifiutato ({name}): sbloccarlo e riprovare, o conservare la chiave in {key_variable} o in un file.</translation>
    </message>
    <message>
        <source>The tenant id or the sign-in host has a form that none has: check both in the profile.</source>
        <translation>L&apos;ID del tenant o l&apos;host di accesso ha una forma non valida: controllarli entrambi nel profilo.</translation>
    </message>
    <message>
        <source>The test part has {items} images of {groups} patients: too few to rely on these figures.</source>
        <translation>La parte di prova ha {items} immagini di {groups} pazienti: troppo poche per fare affidamento su questi valori.</translation>
    </message>
    <message>
        <source>The timeout must be a number of seconds above 0.</source>
        <translation>Il tempo massimo deve essere un numero di secondi maggiore di 0.</translation>
    </message>
    <message>
        <source>The title, model and modality of the preset {name!r} have to be short texts.</source>
        <translation>Titolo, modello e modalità del predefinito {name!r} devono essere testi brevi.</translation>
    </message>
    <message>
        <source>The token could not be renewed early (%s); the old one is used while it lasts.</source>
        <translation>Il token non ha potuto essere rinnovato in anticipo (%s); quello vecchio viene usato finché vale.</translation>
    </message>
    <message>
        <source>The tolerance is a distance in mm above 0.</source>
        <translation>La tolleranza è una distanza in mm maggiore di 0.</translation>
    </message>
    <message>
        <source>The vectors are no table of numbers; embed the images again.</source>
        <translation>I vettori non sono una tabella di numeri; elaborare di nuovo le immagini.</translation>
    </message>
    <message>
        <source>The vectors have different lengths; they cannot come from one model.</source>
        <translation>I vettori hanno lunghezze diverse; non possono venire da un solo modello.</translation>
    </message>
    <message>
        <source>The vectors have {given} numbers, but those of {describe} in the index have {held}; another model must be behind the endpoint: give its deployment a name of its own.</source>
        <translation>I vettori hanno {given} numeri, ma quelli di {describe} nell&apos;indice ne hanno {held}; dietro l&apos;endpoint c&apos;è evidentemente un altro modello: dare alla sua distribuzione un nome proprio.</translation>
    </message>
    <message>
        <source>The vectors have {length} numbers; an index keeps at most {most}.</source>
        <translation>I vettori hanno {length} numeri; un indice ne conserva al massimo {most}.</translation>
    </message>
    <message>
        <source>The vectors have {shape} numbers and the reference set {shape2}; use the same model for both.</source>
        <translation>I vettori hanno {shape} numeri e l&apos;insieme di riferimento {shape2}; usare lo stesso modello per entrambi.</translation>
    </message>
    <message>
        <source>The vectors must be rows of numbers, one row an image.</source>
        <translation>I vettori devono essere righe di numeri, una riga per immagine.</translation>
    </message>
    <message>
        <source>The volume &quot;{name}&quot; has no {plane} slice {index}; it is not the one that was indexed.</source>
        <translation>Il volume &quot;{name}&quot; non ha la sezione {plane} {index}; non è quello che è stato indicizzato.</translation>
    </message>
    <message>
        <source>The volume &quot;{name}&quot; has {components} numbers in every voxel and they are no colors; choose a scalar volume.</source>
        <translation>Il volume &quot;{name}&quot; ha {components} numeri in ogni voxel che non sono colori; scegliere un volume scalare.</translation>
    </message>
    <message>
        <source>The volume &quot;{name}&quot; has {components} values per voxel; choose a scalar volume or an RGB image.</source>
        <translation>Il volume &quot;{name}&quot; ha {components} valori per voxel; scegliere un volume scalare o un&apos;immagine RGB.</translation>
    </message>
    <message>
        <source>The volume &quot;{name}&quot; holds diffusion data, which is no picture; choose a scalar volume made from it.</source>
        <translation>Il volume &quot;{name}&quot; contiene dati di diffusione, che non sono un&apos;immagine; scegliere un volume scalare ricavato da essi.</translation>
    </message>
    <message>
        <source>The volume is in no scene; add it to the scene first.</source>
        <translation>Il volume non è in una scena; aggiungerlo prima alla scena.</translation>
    </message>
    <message>
        <source>The volume is under a transform that is not linear, so a box is no box in it; harden the transform or leave the region out.</source>
        <translation>Il volume è sotto una trasformazione non lineare, in cui un parallelepipedo non resta tale; applicare definitivamente la trasformazione o non indicare la regione.</translation>
    </message>
    <message>
        <source>The volume was changed while it was being indexed; what had been stored is kept. Index it again.</source>
        <translation>Il volume è stato modificato durante l&apos;indicizzazione; ciò che era memorizzato è conservato. Indicizzarlo di nuovo.</translation>
    </message>
    <message>
        <source>The volume was changed while the job was running, so its result was dropped and nothing was imported; run again.</source>
        <translation>Il volume è stato modificato durante il lavoro, quindi il risultato è stato scartato e non è stato importato nulla; eseguire di nuovo.</translation>
    </message>
    <message>
        <source>The volume was deleted while it was being indexed; what had been stored is kept.</source>
        <translation>Il volume è stato eliminato durante l&apos;indicizzazione; ciò che era memorizzato è conservato.</translation>
    </message>
    <message>
        <source>The volume was deleted while the job was running, so its result was dropped and nothing was imported.</source>
        <translation>Il volume è stato eliminato durante il lavoro, quindi il risultato è stato scartato e non è stato importato nulla.</translation>
    </message>
    <message>
        <source>The volume was removed from the scene.</source>
        <translation>Il volume è stato rimosso dalla scena.</translation>
    </message>
    <message>
        <source>The volume went as one slab: it has too few slices to cut.</source>
        <translation>Il volume è stato inviato in un solo blocco: ha troppo poche sezioni per essere tagliato.</translation>
    </message>
    <message>
        <source>The volume went in {count} slabs that overlap by {overlap} slices ({why}).</source>
        <translation>Il volume è stato inviato in {count} blocchi che si sovrappongono di {overlap} sezioni ({why}).</translation>
    </message>
    <message>
        <source>The way to sign in &apos;{way}&apos; is not known: choose one of {known}.</source>
        <translation>Il modo di accedere &apos;{way}&apos; non è noto: scegliere uno tra {known}.</translation>
    </message>
    <message>
        <source>The weights are none or balanced, not &apos;{weights}&apos;.</source>
        <translation>I pesi sono none o balanced, non &apos;{weights}&apos;.</translation>
    </message>
    <message>
        <source>The weights in the package {package} are not those that are known, so they were not taken: report that.</source>
        <translation>I pesi nel pacchetto {package} non sono quelli noti, quindi non sono stati presi: segnalarlo.</translation>
    </message>
    <message>
        <source>The window &apos;{setting}&apos; is not known; give auto, percentile, a site ({sites}) or LOW,HIGH with LOW below HIGH.</source>
        <translation>La finestra &apos;{setting}&apos; non è nota; indicare auto, percentile, una sede ({sites}) o LOW,HIGH con LOW minore di HIGH.</translation>
    </message>
    <message>
        <source>The window &apos;{setting}&apos; is not known; give auto, raw, percentile, a site ({sites}) or LOW,HIGH with LOW below HIGH.</source>
        <translation>La finestra &apos;{setting}&apos; non è nota; indicare auto, raw, percentile, una sede ({sites}) o LOW,HIGH con LOW minore di HIGH.</translation>
    </message>
    <message>
        <source>The {count} images of the series lie at {places} positions, {size} at each (phases, echoes or times?): choose one volume with --frame 0 to {size2}.</source>
        <translation>Le {count} immagini della serie si trovano in {places} posizioni, {size} in ciascuna (fasi, echi o tempi?): scegliere un volume con --frame da 0 a {size2}.</translation>
    </message>
    <message>
        <source>The {count} pictures of this image have no place in the patient, so they are no volume for MedImageParse 3D; use the model medimageparse for them.</source>
        <translation>Le {count} figure di questa immagine non hanno una posizione nel paziente, quindi non sono un volume per MedImageParse 3D; usare per esse il modello medimageparse.</translation>
    </message>
    <message>
        <source>The {name}</source>
        <translation>Il file {name}</translation>
    </message>
    <message>
        <source>The {plane} slices of this volume are 0 to {value}; choose among these.</source>
        <translation>Le sezioni di questo volume nel piano {plane} vanno da 0 a {value}; scegliere tra queste.</translation>
    </message>
    <message>
        <source>There are no records of the kind &quot;{unknown}&quot;; the kinds are {listed}.</source>
        <translation>Non ci sono record del tipo &quot;{unknown}&quot;; i tipi sono {listed}.</translation>
    </message>
    <message>
        <source>There are {count} labels for {count2} probabilities.</source>
        <translation>Ci sono {count} etichette per {count2} probabilità.</translation>
    </message>
    <message>
        <source>There is already a profile &quot;{name}&quot;: choose another name, or replace it on purpose.</source>
        <translation>Esiste già un profilo &quot;{name}&quot;: scegliere un altro nome, o sostituirlo di proposito.</translation>
    </message>
    <message>
        <source>There is no DICOM database open in Slicer; open one in the DICOM module.</source>
        <translation>In Slicer non è aperto alcun database DICOM; aprirne uno nel modulo DICOM.</translation>
    </message>
    <message>
        <source>There is no adapter {path}; make one with `adapter train`.</source>
        <translation>Non esiste l&apos;adattatore {path}; crearne uno con `adapter train`.</translation>
    </message>
    <message>
        <source>There is no endpoint &apos;{name}&apos; in workspace {workspace}.</source>
        <translation>Non esiste l&apos;endpoint &apos;{name}&apos; nell&apos;area di lavoro {workspace}.</translation>
    </message>
    <message>
        <source>There is no engine &apos;{which}&apos;: give {listed}, the name of one that was added, or FILE.py:Class.</source>
        <translation>Non esiste il motore &apos;{which}&apos;: indicare {listed}, il nome di uno aggiunto, o FILE.py:Class.</translation>
    </message>
    <message>
        <source>There is no engine of that name among those that were added: `engine list` shows them.</source>
        <translation>Tra i motori aggiunti non ce n&apos;è uno con questo nome: `engine list` li mostra.</translation>
    </message>
    <message>
        <source>There is no engine of that name: give {listed}, or FILE.py:Class; `engine list` shows what can be added.</source>
        <translation>Non esiste un motore con questo nome: indicare {listed}, o FILE.py:Class; `engine list` mostra che cosa si può aggiungere.</translation>
    </message>
    <message>
        <source>There is no file or folder {path}; check the path.</source>
        <translation>Non esiste il file o la cartella {path}; controllare il percorso.</translation>
    </message>
    <message>
        <source>There is no file {input}; check the path.</source>
        <translation>Non esiste il file {input}; controllare il percorso.</translation>
    </message>
    <message>
        <source>There is no file {name} with an engine: check the path before the colon.</source>
        <translation>Non esiste il file {name} con un motore: controllare il percorso prima dei due punti.</translation>
    </message>
    <message>
        <source>There is no file {path} with names that can be read; check the path.</source>
        <translation>Non esiste un file {path} con nomi leggibili; controllare il percorso.</translation>
    </message>
    <message>
        <source>There is no file {path}; choose one that was exported from an index.</source>
        <translation>Non esiste il file {path}; sceglierne uno esportato da un indice.</translation>
    </message>
    <message>
        <source>There is no frame {frame}: the file has frames 0 to {value}.</source>
        <translation>Non esiste il fotogramma {frame}: il file ha fotogrammi da 0 a {value}.</translation>
    </message>
    <message>
        <source>There is no frame {frame}: the image has frames 0 to {value}.</source>
        <translation>Non esiste il fotogramma {frame}: l&apos;immagine ha fotogrammi da 0 a {value}.</translation>
    </message>
    <message>
        <source>There is no frame {frame}: the series has frames 0 to {value} at each position.</source>
        <translation>Non esiste il fotogramma {frame}: la serie ha fotogrammi da 0 a {value} in ogni posizione.</translation>
    </message>
    <message>
        <source>There is no image to run on.</source>
        <translation>Non c&apos;è un&apos;immagine su cui eseguire.</translation>
    </message>
    <message>
        <source>There is no index at {path}; add images to make one.</source>
        <translation>Non c&apos;è un indice in {path}; aggiungere immagini per crearne uno.</translation>
    </message>
    <message>
        <source>There is no preset of your own to export.</source>
        <translation>Non ci sono elenchi propri da esportare.</translation>
    </message>
    <message>
        <source>There is no preset of your own with that name; your own are {value}.</source>
        <translation>Non esiste un predefinito proprio con questo nome; i propri sono {value}.</translation>
    </message>
    <message>
        <source>There is no preset with that name; {rest}</source>
        <translation>Non esiste un predefinito con questo nome; {rest}</translation>
    </message>
    <message>
        <source>There is no profile &quot;{name}&quot; to remove.</source>
        <translation>Non esiste un profilo &quot;{name}&quot; da rimuovere.</translation>
    </message>
    <message>
        <source>There is no profile &quot;{name}&quot;; the known ones are: {known}.</source>
        <translation>Non esiste il profilo &quot;{name}&quot;; quelli noti sono: {known}.</translation>
    </message>
    <message>
        <source>There is no profile to export yet: add one first.</source>
        <translation>Non c&apos;è ancora un profilo da esportare: aggiungerne prima uno.</translation>
    </message>
    <message>
        <source>There is no prompt: name at least one structure, for example &quot;liver &amp; left kidney&quot;.</source>
        <translation>Manca il prompt: indicare almeno una struttura, per esempio &quot;liver &amp; left kidney&quot;.</translation>
    </message>
    <message>
        <source>There is no ready label set &quot;{name}&quot;; there are: {listed}.</source>
        <translation>Non esiste un insieme di etichette pronto &quot;{name}&quot;; ci sono: {listed}.</translation>
    </message>
    <message>
        <source>There is no room on the disk for the index {path}; free some space and run again: what was stored is kept.</source>
        <translation>Sul disco non c&apos;è spazio per l&apos;indice {path}; liberare spazio ed eseguire di nuovo: ciò che era memorizzato è conservato.</translation>
    </message>
    <message>
        <source>There is no segment to measure yet.</source>
        <translation>Non c&apos;è ancora un segmento da misurare.</translation>
    </message>
    <message>
        <source>There is no segment to write yet; DICOM objects cannot be empty.</source>
        <translation>Non c&apos;è ancora un segmento da scrivere; gli oggetti DICOM non possono essere vuoti.</translation>
    </message>
    <message>
        <source>There is no such Python: give the path of an environment&apos;s python to --python.</source>
        <translation>Questo Python non esiste: indicare a --python il percorso del python di un ambiente.</translation>
    </message>
    <message>
        <source>There is no such {kind} for --{option}: {help}.</source>
        <translation>Non esiste {kind} per --{option}: {help}.</translation>
    </message>
    <message>
        <source>There is no volume for the masks to lie on; select the volume that they were made from.</source>
        <translation>Non c&apos;è un volume su cui collocare le maschere; selezionare il volume da cui sono state ricavate.</translation>
    </message>
    <message>
        <source>There is no volume to read; load a volume and select it.</source>
        <translation>Non c&apos;è un volume da leggere; caricare un volume e selezionarlo.</translation>
    </message>
    <message>
        <source>There is no way from this computer to {who}: check the network, the VPN, and whether a proxy is needed.</source>
        <translation>Non c&apos;è un percorso da questo computer a {who}: controllare la rete, la VPN e se serve un proxy.</translation>
    </message>
    <message>
        <source>There is no workspace &apos;{name}&apos; among those you can see: {listed}.</source>
        <translation>Non esiste l&apos;area di lavoro &apos;{name}&apos; tra quelle visibili: {listed}.</translation>
    </message>
    <message>
        <source>There is not enough memory for this; close other volumes, or choose a smaller region.</source>
        <translation>La memoria non basta; chiudere altri volumi, o scegliere una regione più piccola.</translation>
    </message>
    <message>
        <source>There is nothing to draw, as no image was kept for testing; give --test a share.</source>
        <translation>Non c&apos;è nulla da disegnare, perché nessuna immagine è stata riservata per la prova; dare una quota a --test.</translation>
    </message>
    <message>
        <source>These are {count} labels; an index keeps at most {most_labels}.</source>
        <translation>Queste sono {count} etichette; un indice ne conserva al massimo {most_labels}.</translation>
    </message>
    <message>
        <source>These images cannot be labelled: they are no longer in the index, or nothing is known of their series.</source>
        <translation>Queste immagini non possono essere etichettate: non sono più nell&apos;indice, o non si sa nulla della loro serie.</translation>
    </message>
    <message>
        <source>These masks come from the {engine}.</source>
        <translation>Queste maschere provengono da {engine}.</translation>
    </message>
    <message>
        <source>These names are taken: {listed}; {choose_clash}.</source>
        <translation>Questi nomi sono già in uso: {listed}; {choose_clash}.</translation>
    </message>
    <message>
        <source>These predictions have no reference and were passed over: {listed}.</source>
        <translation>Queste predizioni non hanno un riferimento e sono state ignorate: {listed}.</translation>
    </message>
    <message>
        <source>These scores are the fine-tuned classifier&apos;s own; whoever trained it knows what they are worth.</source>
        <translation>Questi punteggi sono del classificatore addestrato; chi l&apos;ha addestrato sa quanto valgono.</translation>
    </message>
    <message>
        <source>These vectors come from the {engine}.</source>
        <translation>Questi vettori provengono da {engine}.</translation>
    </message>
    <message>
        <source>This Slicer has no logic for its Segment Editor; run this from the effect Text prompt.</source>
        <translation>Questo Slicer non ha una logica per il suo Segment Editor; eseguire dall&apos;effetto Prompt di testo.</translation>
    </message>
    <message>
        <source>This computer has no managed identity: they exist only on Azure machines; use another way to sign in.</source>
        <translation>Questo computer non ha un&apos;identità gestita: esiste solo su macchine Azure; usare un altro modo di accedere.</translation>
    </message>
    <message>
        <source>This computer has not enough memory for the reply of {place} ({received} so far): close other programs, or send less at once.</source>
        <translation>Questo computer non ha abbastanza memoria per la risposta di {place} (finora {received}): chiudere altri programmi, o inviare meno dati alla volta.</translation>
    </message>
    <message>
        <source>This computer has not enough memory to read the reply: close other programs, or send less at once.</source>
        <translation>Questo computer non ha abbastanza memoria per leggere la risposta: chiudere altri programmi, o inviare meno dati alla volta.</translation>
    </message>
    <message>
        <source>This is a classification endpoint (it answers with labels and scores), which neither segments nor embeds: {remedy}, or choose an endpoint of the model. Its reply began: {body}</source>
        <translation>Questo è un endpoint di classificazione (risponde con etichette e punteggi), che non segmenta e non produce vettori: {remedy}, oppure scegliere un endpoint del modello. La sua risposta iniziava con: {body}</translation>
    </message>
    <message>
        <source>This module has been closed or reloaded; start the job from the module as it is now.</source>
        <translation>Questo modulo è stato chiuso o ricaricato; avviare il lavoro dal modulo attuale.</translation>
    </message>
    <message>
        <source>This name looks like the built-in &quot;{local_demo}&quot;: choose another one.</source>
        <translation>Questo nome somiglia a quello incorporato &quot;{local_demo}&quot;: sceglierne un altro.</translation>
    </message>
    <message>
        <source>This result has lost the volume that it belongs to; take the one in the run&apos;s own result.</source>
        <translation>Questo risultato ha perso il volume a cui appartiene; usare quello nel risultato dell&apos;esecuzione.</translation>
    </message>
    <message>
        <source>Two outputs have the same name ({other} and {name}): give each its own.</source>
        <translation>Due risultati hanno lo stesso nome ({other} e {name}): dare a ciascuno il proprio.</translation>
    </message>
    <message>
        <source>UMAP needs at least four vectors; choose PCA instead.</source>
        <translation>UMAP richiede almeno quattro vettori; scegliere invece PCA.</translation>
    </message>
    <message>
        <source>Vertebrae C1 to S1 and the sacrum</source>
        <translation>Vertebre da C1 a S1 e il sacro</translation>
    </message>
    <message>
        <source>Volume {frame} of {size} at the same positions was taken.</source>
        <translation>È stato preso il volume {frame} di {size} nelle stesse posizioni.</translation>
    </message>
    <message>
        <source>Volumes are compared by vote, mean or statistics, not by &apos;{way}&apos;.</source>
        <translation>I volumi si confrontano con vote, mean o statistics, non con &apos;{way}&apos;.</translation>
    </message>
    <message>
        <source>Voxels of type {dtype} cannot be put into the scene; convert them to float64 or an integer type.</source>
        <translation>I voxel di tipo {dtype} non possono essere inseriti nella scena; convertirli in float64 o in un tipo intero.</translation>
    </message>
    <message>
        <source>What leaves this computer is the voxels or pixels, their spacing and orientation, and the prompts; no names, dates or other fields of the file.</source>
        <translation>A lasciare questo computer sono i voxel o i pixel, la loro spaziatura e orientamento, e i prompt; nessun nome, nessuna data né altro campo del file.</translation>
    </message>
    <message>
        <source>What listens at {place} does not speak HTTP: check the URL&apos;s port{guess}.</source>
        <translation>Il server in ascolto su {place} non usa HTTP: controllare la porta dell&apos;URL{guess}.</translation>
    </message>
    <message>
        <source>What the engine {which} was given for --{option} is not there any more: put it back, or add the engine again.</source>
        <translation>Ciò che al motore {which} era stato indicato per --{option} non c&apos;è più: rimetterlo al suo posto, o aggiungere di nuovo il motore.</translation>
    </message>
    <message>
        <source>What {instance} costs in {location} is listed at {prices_page}.</source>
        <translation>Il costo di {instance} in {location} è indicato in {prices_page}.</translation>
    </message>
    <message>
        <source>Which model runs behind &quot;{name}&quot; cannot be told from its name: check the profile, then set its model.</source>
        <translation>Quale modello sia in esecuzione dietro &quot;{name}&quot; non si ricava dal nome: verificare il profilo, poi impostarne il modello.</translation>
    </message>
    <message>
        <source>Whole volumes are found for a volume; name one as the image, or leave the way to compare volumes out.</source>
        <translation>I volumi interi si trovano a partire da un volume; indicarne uno come immagine, o non indicare il modo di confrontare i volumi.</translation>
    </message>
    <message>
        <source>You are not allowed to use {place} (403: “{said}”): if that does not say why, {role}.</source>
        <translation>Non si è autorizzati a usare {place} (403: “{said}”): se il messaggio non spiega il motivo, {role}.</translation>
    </message>
    <message>
        <source>You are signed in, but not allowed to use {place} (403): {role}.</source>
        <translation>L&apos;accesso è riuscito, ma non si è autorizzati a usare {place} (403): {role}.</translation>
    </message>
    <message>
        <source>You are signed in, but you can see no Azure subscription: ask its owner for the role Reader, or {another_tenant}.</source>
        <translation>L&apos;accesso è riuscito, ma non è visibile nessuna sottoscrizione di Azure: chiedere al proprietario il ruolo Reader, o {another_tenant}.</translation>
    </message>
    <message>
        <source>You may not change {what}{asked}.</source>
        <translation>Non si è autorizzati a modificare {what}{asked}.</translation>
    </message>
    <message>
        <source>You may not read {what}{asked}: ask the owner of the subscription or the workspace.</source>
        <translation>Non si è autorizzati a leggere {what}{asked}: chiedere al proprietario della sottoscrizione o dell&apos;area di lavoro.</translation>
    </message>
    <message>
        <source>Zones of the prostate, slices of MRI</source>
        <translation>Zone della prostata, sezioni RM</translation>
    </message>
    <message>
        <source>a comma</source>
        <translation>una virgola</translation>
    </message>
    <message>
        <source>a date (2026-12-31) to be reminded of; nothing is deleted by itself</source>
        <translation>una data (2026-12-31) che serve da promemoria; nulla viene eliminato automaticamente</translation>
    </message>
    <message>
        <source>a device code</source>
        <translation>un codice dispositivo</translation>
    </message>
    <message>
        <source>a job queue belongs to the thread that made it; from others, use the job&apos;s cancellation</source>
        <translation>una coda di lavori appartiene al thread che l&apos;ha creata; dagli altri usare l&apos;annullamento del lavoro</translation>
    </message>
    <message>
        <source>a key is not written to files</source>
        <translation>una chiave non viene scritta nei file</translation>
    </message>
    <message>
        <source>a label cannot be</source>
        <translation>un&apos;etichetta non può essere</translation>
    </message>
    <message>
        <source>a number</source>
        <translation>un numero</translation>
    </message>
    <message>
        <source>a part of {plane}, slice {slice_index}</source>
        <translation>una parte di {plane}, sezione {slice_index}</translation>
    </message>
    <message>
        <source>a record is incomplete</source>
        <translation>un record è incompleto</translation>
    </message>
    <message>
        <source>a rule of your organization (Conditional Access) blocks it: ask your administrator</source>
        <translation>una regola dell&apos;organizzazione (Conditional Access) lo blocca: rivolgersi all&apos;amministratore</translation>
    </message>
    <message>
        <source>a scaling factor cannot be</source>
        <translation>un fattore di scala non può essere</translation>
    </message>
    <message>
        <source>a segment could not be added</source>
        <translation>un segmento non ha potuto essere aggiunto</translation>
    </message>
    <message>
        <source>a semicolon</source>
        <translation>un punto e virgola</translation>
    </message>
    <message>
        <source>a text in it is too long</source>
        <translation>un testo in esso è troppo lungo</translation>
    </message>
    <message>
        <source>a token for endpoint {endpoint_id}</source>
        <translation>un token per l&apos;endpoint {endpoint_id}</translation>
    </message>
    <message>
        <source>a whole number</source>
        <translation>un numero intero</translation>
    </message>
    <message>
        <source>ahead of</source>
        <translation>avanti rispetto a quello</translation>
    </message>
    <message>
        <source>all {total} records can still be read</source>
        <translation>tutti i {total} record possono ancora essere letti</translation>
    </message>
    <message>
        <source>an existing segment could not be changed</source>
        <translation>un segmento esistente non ha potuto essere modificato</translation>
    </message>
    <message>
        <source>an existing segment could not be resampled to the volume&apos;s grid</source>
        <translation>un segmento esistente non ha potuto essere ricampionato sulla griglia del volume</translation>
    </message>
    <message>
        <source>and {count} more</source>
        <translation>e altri {count}</translation>
    </message>
    <message>
        <source>announces {size}, more than</source>
        <translation>annuncia {size}, più di</translation>
    </message>
    <message>
        <source>another Azure Resource Manager</source>
        <translation>un altro Azure Resource Manager</translation>
    </message>
    <message>
        <source>another sign-in host, which you trust with your account</source>
        <translation>un altro host di accesso, a cui si affida il proprio account</translation>
    </message>
    <message>
        <source>application, or user-assigned managed identity, to sign in with</source>
        <translation>applicazione, o identità gestita assegnata dall&apos;utente, con cui accedere</translation>
    </message>
    <message>
        <source>as asked</source>
        <translation>come richiesto</translation>
    </message>
    <message>
        <source>ask its owner for a role with {score_permission}, such as AzureML Data Scientist</source>
        <translation>chiedere al proprietario un ruolo con {score_permission}, per esempio AzureML Data Scientist</translation>
    </message>
    <message>
        <source>asked as {model}</source>
        <translation>interrogato come {model}</translation>
    </message>
    <message>
        <source>behind</source>
        <translation>indietro rispetto a quello</translation>
    </message>
    <message>
        <source>certificates {ca_bundle}</source>
        <translation>certificati {ca_bundle}</translation>
    </message>
    <message>
        <source>check that the endpoint runs the model chosen here, send less if memory may be short, and see the deployment&apos;s log</source>
        <translation>controllare che l&apos;endpoint esegua il modello scelto qui, inviare meno dati se la memoria può essere scarsa, e vedere il registro della distribuzione</translation>
    </message>
    <message>
        <source>check that the model chosen here is the one that the endpoint runs</source>
        <translation>controllare che il modello scelto qui sia quello eseguito dall&apos;endpoint</translation>
    </message>
    <message>
        <source>check the URL and its port, and that the endpoint is running</source>
        <translation>controllare l&apos;URL e la sua porta, e che l&apos;endpoint sia in esecuzione</translation>
    </message>
    <message>
        <source>check the proxy&apos;s address, or set NO_PROXY for the endpoint&apos;s host</source>
        <translation>controllare l&apos;indirizzo del proxy, o impostare NO_PROXY per l&apos;host dell&apos;endpoint</translation>
    </message>
    <message>
        <source>choose the sign-in that this endpoint uses ({ways})</source>
        <translation>scegliere l&apos;accesso che questo endpoint usa ({ways})</translation>
    </message>
    <message>
        <source>convert it to an uncompressed transfer syntax (dcmdjpeg, gdcmconv --raw) or export it again</source>
        <translation>convertirlo in una sintassi di trasferimento non compressa (dcmdjpeg, gdcmconv --raw) o esportarlo di nuovo</translation>
    </message>
    <message>
        <source>copy the key again, or sign in again, as that says</source>
        <translation>copiare di nuovo la chiave, o accedere di nuovo, come indica il messaggio</translation>
    </message>
    <message>
        <source>did you mean {folded}?</source>
        <translation>forse si intendeva {folded}?</translation>
    </message>
    <message>
        <source>did you mean {listed}?</source>
        <translation>forse si intendeva {listed}?</translation>
    </message>
    <message>
        <source>every image to learn from has</source>
        <translation>ogni immagine da cui imparare ha</translation>
    </message>
    <message>
        <source>exit status {status}</source>
        <translation>stato di uscita {status}</translation>
    </message>
    <message>
        <source>extra certificate authorities (PEM)</source>
        <translation>autorità di certificazione aggiuntive (PEM)</translation>
    </message>
    <message>
        <source>frame {frame}</source>
        <translation>fotogramma {frame}</translation>
    </message>
    <message>
        <source>how callers sign in to the endpoint</source>
        <translation>come i chiamanti accedono all&apos;endpoint</translation>
    </message>
    <message>
        <source>how to sign in; default tries several</source>
        <translation>come accedere; per impostazione predefinita se ne provano diversi</translation>
    </message>
    <message>
        <source>install pylibjpeg with its plugins, or {way}</source>
        <translation>installare pylibjpeg con i suoi plugin, o {way}</translation>
    </message>
    <message>
        <source>is longer than</source>
        <translation>supera</translation>
    </message>
    <message>
        <source>it asks to wait {duration}, more than the {duration2} left for waiting</source>
        <translation>chiede di attendere {duration}, più di {duration2} che restano per l&apos;attesa</translation>
    </message>
    <message>
        <source>it cannot be opened</source>
        <translation>non può essere aperto</translation>
    </message>
    <message>
        <source>it claims to hold far more than its size allows</source>
        <translation>dichiara di contenere molto più di quanto la sua dimensione permetta</translation>
    </message>
    <message>
        <source>it ended too often and is not started again; see the server&apos;s standard error</source>
        <translation>è terminato troppe volte e non viene riavviato; vedere l&apos;output degli errori del server</translation>
    </message>
    <message>
        <source>it gave no reason</source>
        <translation>non ha indicato un motivo</translation>
    </message>
    <message>
        <source>it has no class made from Engine</source>
        <translation>non ha una classe derivata da Engine</translation>
    </message>
    <message>
        <source>it has no lines</source>
        <translation>non ha righe</translation>
    </message>
    <message>
        <source>it has none; make one with `index label`</source>
        <translation>non ne ha; crearne uno con `index label`</translation>
    </message>
    <message>
        <source>it has {listed}</source>
        <translation>ha {listed}</translation>
    </message>
    <message>
        <source>it has {listed}.</source>
        <translation>ha {listed}.</translation>
    </message>
    <message>
        <source>it may be restarting, so try again in a few minutes</source>
        <translation>forse si sta riavviando, quindi riprovare tra qualche minuto</translation>
    </message>
    <message>
        <source>it starts again with the next request</source>
        <translation>si riavvia con la prossima richiesta</translation>
    </message>
    <message>
        <source>its columns have different lengths</source>
        <translation>le sue colonne hanno lunghezze diverse</translation>
    </message>
    <message>
        <source>its description cannot be</source>
        <translation>la sua descrizione non può essere</translation>
    </message>
    <message>
        <source>its hash or kind cannot be</source>
        <translation>il suo hash o tipo non può essere</translation>
    </message>
    <message>
        <source>its labels cannot be</source>
        <translation>le sue etichette non possono essere</translation>
    </message>
    <message>
        <source>its list of spaces cannot be</source>
        <translation>il suo elenco di spazi non può essere</translation>
    </message>
    <message>
        <source>its position holds something that JSON cannot hold</source>
        <translation>la sua posizione contiene qualcosa che JSON non può contenere</translation>
    </message>
    <message>
        <source>its position is longer than {longest_text} letters</source>
        <translation>la sua posizione è più lunga di {longest_text} lettere</translation>
    </message>
    <message>
        <source>its position is nested too deep</source>
        <translation>la sua posizione è annidata troppo in profondità</translation>
    </message>
    <message>
        <source>its position is no JSON object of a usual size</source>
        <translation>la sua posizione non è un oggetto JSON di dimensioni normali</translation>
    </message>
    <message>
        <source>its position is not an object of at most {deepest} levels</source>
        <translation>la sua posizione non è un oggetto di al massimo {deepest} livelli</translation>
    </message>
    <message>
        <source>its state is {made}</source>
        <translation>il suo stato è {made}</translation>
    </message>
    <message>
        <source>its texts are packed in another way than an export&apos;s</source>
        <translation>i suoi testi sono compressi in modo diverso da quelli di un&apos;esportazione</translation>
    </message>
    <message>
        <source>its thumbnail is not a picture of at most {largest_thumbnail} bytes</source>
        <translation>la sua miniatura non è un&apos;immagine di al massimo {largest_thumbnail} byte</translation>
    </message>
    <message>
        <source>its thumbnails do not fit</source>
        <translation>le sue miniature non corrispondono</translation>
    </message>
    <message>
        <source>its vectors are too long</source>
        <translation>i suoi vettori sono troppo lunghi</translation>
    </message>
    <message>
        <source>its vectors cannot be</source>
        <translation>i suoi vettori non sono possibili</translation>
    </message>
    <message>
        <source>its width cannot be</source>
        <translation>la sua larghezza non può essere</translation>
    </message>
    <message>
        <source>its {name} is not a text of at most {longest_text} letters</source>
        <translation>il suo {name} non è un testo di al massimo {longest_text} lettere</translation>
    </message>
    <message>
        <source>keep the endpoint&apos;s key in the system&apos;s keyring</source>
        <translation>conserva la chiave dell&apos;endpoint nel portachiavi del sistema</translation>
    </message>
    <message>
        <source>killed by {name}, perhaps for want of memory</source>
        <translation>terminato da {name}, forse per mancanza di memoria</translation>
    </message>
    <message>
        <source>line {number}</source>
        <translation>riga {number}</translation>
    </message>
    <message>
        <source>line {number} holds a vector of another length than the first</source>
        <translation>la riga {number} contiene un vettore di lunghezza diversa dal primo</translation>
    </message>
    <message>
        <source>line {number} holds no vector</source>
        <translation>la riga {number} non contiene un vettore</translation>
    </message>
    <message>
        <source>line {number} is too long, or there are too many</source>
        <translation>la riga {number} è troppo lunga, o ce ne sono troppe</translation>
    </message>
    <message>
        <source>look for the workspace only in this subscription</source>
        <translation>cerca l&apos;area di lavoro solo in questa sottoscrizione</translation>
    </message>
    <message>
        <source>machine size; if none is given, the first recommended one with quota</source>
        <translation>dimensione della macchina; se non viene indicata, la prima consigliata con quota disponibile</translation>
    </message>
    <message>
        <source>name of the profile; if none is given, the endpoint&apos;s</source>
        <translation>nome del profilo; se non viene indicato, quello dell&apos;endpoint</translation>
    </message>
    <message>
        <source>needs about {seconds:g} s a slice and prompt</source>
        <translation>richiede circa {seconds:g} s per sezione e prompt</translation>
    </message>
    <message>
        <source>no image to learn from has</source>
        <translation>nessuna immagine da cui imparare ha</translation>
    </message>
    <message>
        <source>no reason given</source>
        <translation>nessun motivo indicato</translation>
    </message>
    <message>
        <source>no series has</source>
        <translation>nessuna serie ha</translation>
    </message>
    <message>
        <source>no valid JSON</source>
        <translation>JSON non valido</translation>
    </message>
    <message>
        <source>no vectors</source>
        <translation>nessun vettore</translation>
    </message>
    <message>
        <source>no vectors of the recipe &apos;{recipe}&apos;</source>
        <translation>nessun vettore della ricetta &apos;{recipe}&apos;</translation>
    </message>
    <message>
        <source>none</source>
        <translation>nessuna</translation>
    </message>
    <message>
        <source>none yet</source>
        <translation>ancora nessuno</translation>
    </message>
    <message>
        <source>nothing at all</source>
        <translation>nulla</translation>
    </message>
    <message>
        <source>of the endpoint; if none is given, the model&apos;s name and six letters of the workspace</source>
        <translation>dell&apos;endpoint; se non viene indicato, il nome del modello e sei lettere dell&apos;area di lavoro</translation>
    </message>
    <message>
        <source>of the managed identity</source>
        <translation>dell&apos;identità gestita</translation>
    </message>
    <message>
        <source>plain http, which anyone on the way can read</source>
        <translation>http semplice, che chiunque lungo il percorso può leggere</translation>
    </message>
    <message>
        <source>private object of the scanner&apos;s maker</source>
        <translation>oggetto privato del produttore dello scanner</translation>
    </message>
    <message>
        <source>proxy {proxy}</source>
        <translation>proxy {proxy}</translation>
    </message>
    <message>
        <source>proxy, where the environment names none</source>
        <translation>proxy, se l&apos;ambiente non ne indica uno</translation>
    </message>
    <message>
        <source>record {number} is unreadable</source>
        <translation>il record {number} è illeggibile</translation>
    </message>
    <message>
        <source>record {number}: {wrong}</source>
        <translation>record {number}: {wrong}</translation>
    </message>
    <message>
        <source>runs on {device}</source>
        <translation>in esecuzione su {device}</translation>
    </message>
    <message>
        <source>send it in 8 bits through a window, crop it to a region, or send fewer slices</source>
        <translation>inviarlo a 8 bit attraverso una finestra, ritagliarlo a una regione, o inviare meno sezioni</translation>
    </message>
    <message>
        <source>series {number}</source>
        <translation>serie {number}</translation>
    </message>
    <message>
        <source>series {series}</source>
        <translation>serie {series}</translation>
    </message>
    <message>
        <source>set NO_PROXY for {host}</source>
        <translation>impostare NO_PROXY per {host}</translation>
    </message>
    <message>
        <source>several series have</source>
        <translation>più serie hanno</translation>
    </message>
    <message>
        <source>slice {index}</source>
        <translation>sezione {index}</translation>
    </message>
    <message>
        <source>something that is not JSON: “{said}”</source>
        <translation>qualcosa che non è JSON: “{said}”</translation>
    </message>
    <message>
        <source>takes Hounsfield units</source>
        <translation>accetta unità Hounsfield</translation>
    </message>
    <message>
        <source>the Azure CLI</source>
        <translation>Azure CLI</translation>
    </message>
    <message>
        <source>the Azure Resource Manager</source>
        <translation>Azure Resource Manager</translation>
    </message>
    <message>
        <source>the account does not exist in this tenant: check the account and the tenant id</source>
        <translation>l&apos;account non esiste in questo tenant: controllare l&apos;account e l&apos;ID del tenant</translation>
    </message>
    <message>
        <source>the account is disabled: ask your administrator</source>
        <translation>l&apos;account è disattivato: rivolgersi all&apos;amministratore</translation>
    </message>
    <message>
        <source>the application has not been approved in your organization: ask your administrator</source>
        <translation>l&apos;applicazione non è stata approvata nell&apos;organizzazione: rivolgersi all&apos;amministratore</translation>
    </message>
    <message>
        <source>the application is not known in this tenant: check the client id and the tenant id</source>
        <translation>l&apos;applicazione non è nota in questo tenant: controllare l&apos;ID del client e l&apos;ID del tenant</translation>
    </message>
    <message>
        <source>the approval was declined: sign in again and approve it</source>
        <translation>l&apos;approvazione è stata rifiutata: accedere di nuovo e approvarla</translation>
    </message>
    <message>
        <source>the browser</source>
        <translation>il browser</translation>
    </message>
    <message>
        <source>the certificate authorities</source>
        <translation>le autorità di certificazione</translation>
    </message>
    <message>
        <source>the client secret has expired: ask for a new one</source>
        <translation>il segreto del client è scaduto: chiederne uno nuovo</translation>
    </message>
    <message>
        <source>the client secret is wrong: check AZURE_CLIENT_SECRET</source>
        <translation>il segreto del client è errato: controllare AZURE_CLIENT_SECRET</translation>
    </message>
    <message>
        <source>the closed surfaces could not be made again</source>
        <translation>le superfici chiuse non hanno potuto essere create di nuovo</translation>
    </message>
    <message>
        <source>the code has expired: start again and enter the new one in time</source>
        <translation>il codice è scaduto: ricominciare e inserire in tempo quello nuovo</translation>
    </message>
    <message>
        <source>the default chain</source>
        <translation>la catena predefinita</translation>
    </message>
    <message>
        <source>the deployment of &quot;{name}&quot;</source>
        <translation>la distribuzione di &quot;{name}&quot;</translation>
    </message>
    <message>
        <source>the deployments of endpoint {endpoint_id}</source>
        <translation>le distribuzioni dell&apos;endpoint {endpoint_id}</translation>
    </message>
    <message>
        <source>the endpoint &quot;{name}&quot;</source>
        <translation>l&apos;endpoint &quot;{name}&quot;</translation>
    </message>
    <message>
        <source>the endpoint&apos;s URL for a typing mistake</source>
        <translation>l&apos;URL dell&apos;endpoint per un errore di battitura</translation>
    </message>
    <message>
        <source>the endpoints of workspace {name}</source>
        <translation>gli endpoint dell&apos;area di lavoro {name}</translation>
    </message>
    <message>
        <source>the endpoints of workspace {workspace_id}</source>
        <translation>gli endpoint dell&apos;area di lavoro {workspace_id}</translation>
    </message>
    <message>
        <source>the failed deployment of &quot;{name}&quot;</source>
        <translation>la distribuzione non riuscita di &quot;{name}&quot;</translation>
    </message>
    <message>
        <source>the host</source>
        <translation>l&apos;host</translation>
    </message>
    <message>
        <source>the key of endpoint {endpoint_id}</source>
        <translation>la chiave dell&apos;endpoint {endpoint_id}</translation>
    </message>
    <message>
        <source>the kind is none of {listed}</source>
        <translation>il tipo non è tra {listed}</translation>
    </message>
    <message>
        <source>the last one</source>
        <translation>l&apos;ultima</translation>
    </message>
    <message>
        <source>the machine sizes in {location}</source>
        <translation>le dimensioni delle macchine in {location}</translation>
    </message>
    <message>
        <source>the managed identity</source>
        <translation>l&apos;identità gestita</translation>
    </message>
    <message>
        <source>the method {method}</source>
        <translation>il metodo {method}</translation>
    </message>
    <message>
        <source>the model may mistake the slice direction of a volume of this shape</source>
        <translation>il modello può sbagliare la direzione delle sezioni di un volume di questa forma</translation>
    </message>
    <message>
        <source>the name or the password is wrong</source>
        <translation>il nome o la password è errato</translation>
    </message>
    <message>
        <source>the other side answered before the upload was complete</source>
        <translation>l&apos;altra parte ha risposto prima che il caricamento fosse completo</translation>
    </message>
    <message>
        <source>the proxy</source>
        <translation>il proxy</translation>
    </message>
    <message>
        <source>the proxy {host}:{port}</source>
        <translation>il proxy {host}:{port}</translation>
    </message>
    <message>
        <source>the proxy&apos;s address in the profile or in HTTPS_PROXY</source>
        <translation>l&apos;indirizzo del proxy nel profilo o in HTTPS_PROXY</translation>
    </message>
    <message>
        <source>the quota in {location}</source>
        <translation>la quota in {location}</translation>
    </message>
    <message>
        <source>the scope is not known in this cloud: check the scope and the sign-in host</source>
        <translation>l&apos;ambito non è noto in questo cloud: controllare l&apos;ambito e l&apos;host di accesso</translation>
    </message>
    <message>
        <source>the scope of tokens</source>
        <translation>l&apos;ambito dei token</translation>
    </message>
    <message>
        <source>the service principal in the environment</source>
        <translation>l&apos;entità servizio nell&apos;ambiente</translation>
    </message>
    <message>
        <source>the sign-in has expired: sign in again</source>
        <translation>l&apos;accesso è scaduto: accedere di nuovo</translation>
    </message>
    <message>
        <source>the sign-in host</source>
        <translation>l&apos;host di accesso</translation>
    </message>
    <message>
        <source>the tenant does not exist: check the tenant id</source>
        <translation>il tenant non esiste: controllare l&apos;ID del tenant</translation>
    </message>
    <message>
        <source>the tenant id is not one: check it</source>
        <translation>l&apos;ID del tenant non è valido: controllarlo</translation>
    </message>
    <message>
        <source>the whole volume would be larger than the endpoint takes</source>
        <translation>il volume intero supererebbe quanto l&apos;endpoint accetta</translation>
    </message>
    <message>
        <source>the workspaces of subscription {subscription_id}</source>
        <translation>le aree di lavoro della sottoscrizione {subscription_id}</translation>
    </message>
    <message>
        <source>the {duration} for waiting are used up</source>
        <translation>i {duration} per l&apos;attesa sono esauriti</translation>
    </message>
    <message>
        <source>the {engine}</source>
        <translation>{engine}</translation>
    </message>
    <message>
        <source>there are {listed}.</source>
        <translation>ci sono {listed}.</translation>
    </message>
    <message>
        <source>tried {count} times in {duration}</source>
        <translation>{count} tentativi in {duration}</translation>
    </message>
    <message>
        <source>true or false</source>
        <translation>vero o falso</translation>
    </message>
    <message>
        <source>under 0.1 s</source>
        <translation>meno di 0.1 s</translation>
    </message>
    <message>
        <source>unknown reason</source>
        <translation>motivo sconosciuto</translation>
    </message>
    <message>
        <source>use Azure&apos;s shared quota, for tests: Azure deletes such an endpoint after 168 hours</source>
        <translation>usa la quota condivisa di Azure, per prove: Azure elimina un tale endpoint dopo 168 ore</translation>
    </message>
    <message>
        <source>version of the model in Azure&apos;s registry; if none is given, the one that this program was written for</source>
        <translation>versione del modello nel registro di Azure; se non viene indicata, quella per cui questo programma è stato scritto</translation>
    </message>
    <message>
        <source>volume {number}</source>
        <translation>volume {number}</translation>
    </message>
    <message>
        <source>which of Azure&apos;s clouds</source>
        <translation>quale dei cloud di Azure</translation>
    </message>
    <message>
        <source>your account has not been given this application: ask your administrator</source>
        <translation>l&apos;account non ha ricevuto questa applicazione: rivolgersi all&apos;amministratore</translation>
    </message>
    <message>
        <source>your organization asks for a second factor: sign in with the browser</source>
        <translation>l&apos;organizzazione richiede un secondo fattore: accedere con il browser</translation>
    </message>
    <message>
        <source>{added} of the pictures were embedded and are kept, then the run stopped: {failure}</source>
        <translation>{added} delle immagini sono state elaborate e sono conservate, poi l&apos;esecuzione si è fermata: {failure}</translation>
    </message>
    <message>
        <source>{bad} of {all} vectors hold numbers that are not finite (NaN); embed their images again.</source>
        <translation>{bad} vettori su {all} contengono numeri non finiti (NaN); elaborare di nuovo le loro immagini.</translation>
    </message>
    <message>
        <source>{case} has no prediction.</source>
        <translation>{case} non ha una predizione.</translation>
    </message>
    <message>
        <source>{case}: it is not known which label of the {side} is which structure; say it with --names MAP.json.</source>
        <translation>{case}: non si sa quale etichetta di {side} sia quale struttura; indicarlo con --names MAP.json.</translation>
    </message>
    <message>
        <source>{case}: the prediction lies on another grid than the reference ({one} and {other} voxels, or another place); give it on the reference&apos;s grid, or say --resample.</source>
        <translation>{case}: la predizione è su una griglia diversa dal riferimento ({one} e {other} voxel, o un&apos;altra posizione); darla sulla griglia del riferimento, o indicare --resample.</translation>
    </message>
    <message>
        <source>{case}: the prediction&apos;s structures ({made}) and the reference&apos;s ({true}) have no name in common; say with --names which is which.</source>
        <translation>{case}: le strutture della predizione ({made}) e quelle del riferimento ({true}) non hanno nomi in comune; indicare la corrispondenza con --names.</translation>
    </message>
    <message>
        <source>{count} DICOM files are copies of others and were passed over.</source>
        <translation>{count} file DICOM sono copie di altri e sono stati ignorati.</translation>
    </message>
    <message>
        <source>{count} days</source>
        <translation>{count} giorni</translation>
    </message>
    <message>
        <source>{count} of these images were left out, as the adapter has met other images of their patients.</source>
        <translation>{count} di queste immagini sono state escluse, perché l&apos;adattatore ha già incontrato altre immagini dei loro pazienti.</translation>
    </message>
    <message>
        <source>{count} of {chosen} pictures could not be embedded, and the next run tries them again: {reasons}</source>
        <translation>{count} di {chosen} immagini non sono state elaborate, e la prossima esecuzione le riprova: {reasons}</translation>
    </message>
    <message>
        <source>{count} of {chosen} slices could not be segmented: {reasons}</source>
        <translation>{count} di {chosen} sezioni non sono state segmentate: {reasons}</translation>
    </message>
    <message>
        <source>{count} of {count2} inputs could not be used{others}: {error}</source>
        <translation>{count} di {count2} elementi in ingresso non sono stati usati{others}: {error}</translation>
    </message>
    <message>
        <source>{count} of {total} files of the series cannot be read (empty, cut off or damaged) and are missing from the volume: {named}.</source>
        <translation>{count} dei {total} file della serie non possono essere letti (vuoti, troncati o danneggiati) e mancano dal volume: {named}.</translation>
    </message>
    <message>
        <source>{count} of {total} records cannot be read (numbers {lost})</source>
        <translation>{count} di {total} record non possono essere letti (numeri {lost})</translation>
    </message>
    <message>
        <source>{count} overview images were left out of the volume: {named}.</source>
        <translation>{count} immagini panoramiche sono state escluse dal volume: {named}.</translation>
    </message>
    <message>
        <source>{error} Ask for the role Contributor on the resource group {group} (subscription {subscription}); its owner, or a User Access Administrator, can give it.</source>
        <translation>{error} Chiedere il ruolo Contributor sul gruppo di risorse {group} (sottoscrizione {subscription}); può assegnarlo il suo proprietario, o un User Access Administrator.</translation>
    </message>
    <message>
        <source>{error} Granting takes the role User Access Administrator (or Owner) on the endpoint, its workspace or resource group.</source>
        <translation>{error} Per concederlo serve il ruolo User Access Administrator (o Owner) sull&apos;endpoint, sulla sua area di lavoro o sul gruppo di risorse.</translation>
    </message>
    <message>
        <source>{error} The endpoint had answered by then.</source>
        <translation>{error} L&apos;endpoint aveva ormai risposto.</translation>
    </message>
    <message>
        <source>{error} The endpoint had answered by then; what could be written is kept.</source>
        <translation>{error} L&apos;endpoint aveva già risposto; ciò che è stato possibile scrivere viene mantenuto.</translation>
    </message>
    <message>
        <source>{failed} ({strerror}): install Python 3.10 or later, or give an environment&apos;s with --python.</source>
        <translation>{failed} ({strerror}): installare Python 3.10 o successivo, o indicare quello di un ambiente con --python.</translation>
    </message>
    <message>
        <source>{failed} ({value}): check the network, and try again.</source>
        <translation>{failed} ({value}): controllare la rete e riprovare.</translation>
    </message>
    <message>
        <source>{few}; enlarge it or ask for fewer.</source>
        <translation>{few}; ampliarlo o chiederne meno.</translation>
    </message>
    <message>
        <source>{folder} is a file; give a folder for the {purpose}.</source>
        <translation>{folder} è un file; indicare una cartella per {purpose}.</translation>
    </message>
    <message>
        <source>{folder} is read, so it cannot be a folder for results: choose another one.</source>
        <translation>{folder} viene letto, quindi non può essere una cartella per i risultati: sceglierne un&apos;altra.</translation>
    </message>
    <message>
        <source>{host} answered with something that is not JSON: check whether a proxy is in the way.</source>
        <translation>{host} ha risposto con qualcosa che non è JSON: controllare se c&apos;è un proxy in mezzo.</translation>
    </message>
    <message>
        <source>{host} cannot be reached: check the network and the proxy, then try again.</source>
        <translation>{host} non è raggiungibile: controllare la rete e il proxy, poi riprovare.</translation>
    </message>
    <message>
        <source>{host} does not accept the sign-in for {what}: sign in again, and {name_tenant} where you have several organizations.</source>
        <translation>{host} non accetta l&apos;accesso per {what}: accedere di nuovo, e {name_tenant} se si appartiene a più organizzazioni.</translation>
    </message>
    <message>
        <source>{host} does not know {what}: it may have been deleted meanwhile.</source>
        <translation>{host} non conosce {what}: nel frattempo può essere stato eliminato.</translation>
    </message>
    <message>
        <source>{host} failed with status {status} while reading {what}: try again later.</source>
        <translation>{host} ha risposto con lo stato {status} durante la lettura di {what}: riprovare più tardi.</translation>
    </message>
    <message>
        <source>{host} sent the request for {what} elsewhere, which is not followed: check whether a proxy asks for a sign-in.</source>
        <translation>{host} ha inviato altrove la richiesta di {what}, che non viene seguita: controllare se un proxy chiede un accesso.</translation>
    </message>
    <message>
        <source>{host} was asked too often while reading {what}: wait a minute, then try again.</source>
        <translation>{host} è stato interrogato troppo spesso durante la lettura di {what}: attendere un minuto, poi riprovare.</translation>
    </message>
    <message>
        <source>{listed} and {count} more pairs</source>
        <translation>{listed} e altre {count} coppie</translation>
    </message>
    <message>
        <source>{listed} or {last}</source>
        <translation>{listed} o {last}</translation>
    </message>
    <message>
        <source>{listed}: {why}</source>
        <translation>{listed}: {why}</translation>
    </message>
    <message>
        <source>{named} could not be loaded from the DICOM database; look in the log for details.</source>
        <translation>{named} non può essere caricato dal database DICOM; i dettagli sono nel registro.</translation>
    </message>
    <message>
        <source>{named} has another size than when it was indexed; index it again.</source>
        <translation>{named} ha dimensioni diverse da quando è stato indicizzato; indicizzarlo di nuovo.</translation>
    </message>
    <message>
        <source>{named} is no longer in the DICOM database; import it again.</source>
        <translation>{named} non è più nel database DICOM; importarlo di nuovo.</translation>
    </message>
    <message>
        <source>{named} is not in the scene, and its file is no longer where it was; load it and try again.</source>
        <translation>{named} non è nella scena, e il suo file non è più dov&apos;era; caricarlo e riprovare.</translation>
    </message>
    <message>
        <source>{named} is not in the scene, and where it was is not kept in the index; load it and try again.</source>
        <translation>{named} non è nella scena, e la sua posizione non è conservata nell&apos;indice; caricarlo e riprovare.</translation>
    </message>
    <message>
        <source>{name} answers in {duration} with a fine-tuned classifier of the labels {named}: classify can use it as a tuned one; only a tiny made-up probe was sent.</source>
        <translation>{name} risponde in {duration} con un classificatore addestrato con le etichette {named}: la classificazione può usarlo come tale; è stata inviata solo una piccola immagine artificiale di prova.</translation>
    </message>
    <message>
        <source>{name} answers in {duration} with {who} ({how}reply: {form}); only a tiny made-up probe was sent.</source>
        <translation>{name} risponde in {duration} con {who} ({how}risposta: {form}); è stata inviata solo una piccola immagine artificiale di prova.</translation>
    </message>
    <message>
        <source>{name} answers, but with {model_names} where {model_names2} was expected: choose {model}, or the other endpoint&apos;s URL.</source>
        <translation>{name} risponde, ma con {model_names} dove era atteso {model_names2}: scegliere {model}, o l&apos;URL dell&apos;altro endpoint.</translation>
    </message>
    <message>
        <source>{name} does not say which label is which; write {example}.</source>
        <translation>{name} non dice quale etichetta è quale; scrivere {example}.</translation>
    </message>
    <message>
        <source>{name} exists and is no exported profile, so it is left as it is: choose another name.</source>
        <translation>{name} esiste e non è un profilo esportato, quindi resta com&apos;è: scegliere un altro nome.</translation>
    </message>
    <message>
        <source>{name} has a header that cannot be read</source>
        <translation>{name} ha un&apos;intestazione che non può essere letta</translation>
    </message>
    <message>
        <source>{name} has no option &apos;{option}&apos;; {rest}</source>
        <translation>{name} non ha l&apos;opzione &apos;{option}&apos;; {rest}</translation>
    </message>
    <message>
        <source>{name} has too long a header</source>
        <translation>{name} ha un&apos;intestazione troppo lunga</translation>
    </message>
    <message>
        <source>{name} holds broken numbers; a reference or prediction is a labelmap of whole numbers.</source>
        <translation>{name} contiene numeri frazionari; un riferimento o una predizione è una mappa di etichette di numeri interi.</translation>
    </message>
    <message>
        <source>{name} holds more than {most} profiles: split it.</source>
        <translation>{name} contiene più di {most} profili: dividerlo.</translation>
    </message>
    <message>
        <source>{name} holds values below 0, as a CT does; a reference or prediction is a labelmap of whole numbers.</source>
        <translation>{name} contiene valori inferiori a 0, come una TC; un riferimento o una previsione è una mappa di etichette con numeri interi.</translation>
    </message>
    <message>
        <source>{name} holds your own profiles: choose another name for the export.</source>
        <translation>{name} contiene i propri profili: scegliere un altro nome per l&apos;esportazione.</translation>
    </message>
    <message>
        <source>{name} is a color image; a reference or prediction is a labelmap of whole numbers.</source>
        <translation>{name} è un&apos;immagine a colori; un riferimento o una predizione è una mappa di etichette di numeri interi.</translation>
    </message>
    <message>
        <source>{name} is far too large for a profile file: name one that `profiles export` has written.</source>
        <translation>{name} è troppo grande per un file di profili: indicarne uno scritto da `profiles export`.</translation>
    </message>
    <message>
        <source>{name} is no array</source>
        <translation>{name} non è un array</translation>
    </message>
    <message>
        <source>{name} is not JSON; write {example}.</source>
        <translation>{name} non è JSON; scrivere {example}.</translation>
    </message>
    <message>
        <source>{name} is not a profile file: it is not JSON.</source>
        <translation>{name} non è un file di profili: non è JSON.</translation>
    </message>
    <message>
        <source>{name} is not a profile file: it is not text.</source>
        <translation>{name} non è un file di profili: non è testo.</translation>
    </message>
    <message>
        <source>{name} is not a profile file: it lists no profiles.</source>
        <translation>{name} non è un file di profili: non elenca profili.</translation>
    </message>
    <message>
        <source>{name} is not a profile file: it names no schema.</source>
        <translation>{name} non è un file di profili: non indica uno schema.</translation>
    </message>
    <message>
        <source>{name} is not what a head has there</source>
        <translation>{name} non è ciò che un adattatore ha in quel punto</translation>
    </message>
    <message>
        <source>{name} is not what an export has there</source>
        <translation>{name} non è ciò che un&apos;esportazione ha in quel punto</translation>
    </message>
    <message>
        <source>{name} needs {cores} cores and {free} of {family} are free</source>
        <translation>{name} richiede {cores} core e {free} di {family} sono liberi</translation>
    </message>
    <message>
        <source>{name} needs {name2}; give it as {name2}=….</source>
        <translation>{name} richiede {name2}; indicarlo come {name2}=….</translation>
    </message>
    <message>
        <source>{name} takes {listed} without a name; give everything else as option=value.</source>
        <translation>{name} accetta {listed} senza nome; indicare tutto il resto come opzione=valore.</translation>
    </message>
    <message>
        <source>{name} was given {option} twice; give it once.</source>
        <translation>{name} ha ricevuto {option} due volte; indicarlo una volta.</translation>
    </message>
    <message>
        <source>{name}, {plane} slice {index}</source>
        <translation>{name}, {plane} sezione {index}</translation>
    </message>
    <message>
        <source>{name}: {count} of its slices could not be embedded: {refused}</source>
        <translation>{name}: {count} delle sue sezioni non sono state elaborate: {refused}</translation>
    </message>
    <message>
        <source>{not_recorded} of the requests could not be recorded in {path} ({why}): make room there, or check that the file can be written.</source>
        <translation>{not_recorded} delle richieste non sono state registrate in {path} ({why}): fare spazio, o controllare che il file possa essere scritto.</translation>
    </message>
    <message>
        <source>{of} and a folder for results have the same name: give each its own.</source>
        <translation>{of} e una cartella per i risultati hanno lo stesso nome: assegnare a ciascuno un nome proprio.</translation>
    </message>
    <message>
        <source>{of} would replace a file of the folder {source}, which is read: give it another name.</source>
        <translation>{of} sostituirebbe un file della cartella {source}, che viene letta: dargli un altro nome.</translation>
    </message>
    <message>
        <source>{of} would replace {name} among the settings of this program: give it another place.</source>
        <translation>{of} sostituirebbe {name} tra le impostazioni di questo programma: dargli un&apos;altra posizione.</translation>
    </message>
    <message>
        <source>{of} would replace {source}, which is read: give it another name.</source>
        <translation>{of} sostituirebbe {source}, che viene letto: dargli un altro nome.</translation>
    </message>
    <message>
        <source>{one} and {other}</source>
        <translation>{one} e {other}</translation>
    </message>
    <message>
        <source>{part}; </source>
        <translation>{part}; </translation>
    </message>
    <message>
        <source>{path} holds no cases.</source>
        <translation>{path} non contiene casi.</translation>
    </message>
    <message>
        <source>{path} is a folder; give the name of a file.</source>
        <translation>{path} è una cartella; indicare il nome di un file.</translation>
    </message>
    <message>
        <source>{path} names no references; give a file or a folder of labelmaps.</source>
        <translation>{path} non indica riferimenti; indicare un file o una cartella di mappe di etichette.</translation>
    </message>
    <message>
        <source>{path} was written by a newer version (schema {document}, this one knows {schema}): update this extension; the file has not been touched.</source>
        <translation>{path} è stato scritto da una versione più recente (schema {document}, questa conosce {schema}): aggiornare questa estensione; il file non è stato toccato.</translation>
    </message>
    <message>
        <source>{place} answered with a web page{named} instead of a result: check the URL, and whether a proxy or a sign-in page is in between.</source>
        <translation>{place} ha risposto con una pagina web{named} invece di un risultato: controllare l&apos;URL, e se c&apos;è un proxy o una pagina di accesso in mezzo.</translation>
    </message>
    <message>
        <source>{place} answered with {what}; check that the URL is the endpoint&apos;s scoring address.</source>
        <translation>{place} ha risposto con {what}; controllare che l&apos;URL sia l&apos;indirizzo di scoring dell&apos;endpoint.</translation>
    </message>
    <message>
        <source>{place} began to reply but had not finished {duration} after the request: check the network, or {raise_timeout}.</source>
        <translation>{place} ha iniziato a rispondere ma non aveva finito {duration} dopo la richiesta: controllare la rete, o {raise_timeout}.</translation>
    </message>
    <message>
        <source>{place} closed the connection without a reply: its server may have crashed on this request, so try again with less or see its log.</source>
        <translation>{place} ha chiuso la connessione senza risposta: il suo server può essersi arrestato per questa richiesta, quindi riprovare con meno dati o vederne il registro.</translation>
    </message>
    <message>
        <source>{place} did not accept the request ({status}{said}): check that the URL, the model and the dialect belong together.</source>
        <translation>{place} non ha accettato la richiesta ({status}{said}): controllare che URL, modello e dialetto siano coerenti.</translation>
    </message>
    <message>
        <source>{place} did not complete the connection within {duration}: a firewall may be in the way, so check the URL, the VPN, and whether a proxy is needed.</source>
        <translation>{place} non ha completato la connessione entro {duration}: forse un firewall la blocca, quindi controllare l&apos;URL, la VPN e se serve un proxy.</translation>
    </message>
    <message>
        <source>{place} does not let anyone in without a sign-in (403): {sign_in_somehow}.</source>
        <translation>{place} non consente l&apos;uso senza accesso (403): {sign_in_somehow}.</translation>
    </message>
    <message>
        <source>{place} does not take requests from this network (403: “{said}”): use the network or VPN that the workspace is reachable from, or ask its administrators.</source>
        <translation>{place} non accetta richieste da questa rete (403: “{said}”): usare la rete o la VPN da cui l&apos;area di lavoro è raggiungibile, o chiedere ai suoi amministratori.</translation>
    </message>
    <message>
        <source>{place} failed ({status}{said}); it may be restarting, so try again in a few minutes or see its log.</source>
        <translation>{place} non è riuscito ({status}{said}); forse si sta riavviando, quindi riprovare tra qualche minuto o vederne il registro.</translation>
    </message>
    <message>
        <source>{place} failed ({status}{said}); see the endpoint&apos;s log.</source>
        <translation>{place} non è riuscito ({status}{said}); vedere il registro dell&apos;endpoint.</translation>
    </message>
    <message>
        <source>{place} gave no reply within {duration}: send a smaller volume or fewer prompts, or {raise_both_timeouts}.</source>
        <translation>{place} non ha risposto entro {duration}: inviare un volume più piccolo o meno prompt, o {raise_both_timeouts}.</translation>
    </message>
    <message>
        <source>{place} gave up waiting for the model after {duration} ({status}{said}), and the model may still be computing: wait some minutes, send less at once (a smaller volume, fewer prompts, a smaller batch), or have the deployment&apos;s request timeout raised.</source>
        <translation>{place} ha smesso di attendere il modello dopo {duration} ({status}{said}), e il modello può essere ancora in esecuzione: attendere alcuni minuti, inviare meno dati alla volta (un volume più piccolo, meno prompt, un lotto più piccolo), o far aumentare il tempo massimo di richiesta della distribuzione.</translation>
    </message>
    <message>
        <source>{place} has nothing at this address (404): check that the URL ends in /score (or /invocations), and that a deployment gets traffic.</source>
        <translation>{place} non ha nulla a questo indirizzo (404): controllare che l&apos;URL termini con /score (o /invocations), e che una distribuzione riceva traffico.</translation>
    </message>
    <message>
        <source>{place} has nothing at this address (404): check that the URL ends in /score (or /invocations), and that the deployment &apos;{deployment}&apos; exists.</source>
        <translation>{place} non ha nulla a questo indirizzo (404): controllare che l&apos;URL termini con /score (o /invocations), e che la distribuzione &apos;{deployment}&apos; esista.</translation>
    </message>
    <message>
        <source>{place} is busy ({shown}): try again later, or have its owner give the deployment more instances.</source>
        <translation>{place} è occupato ({shown}): riprovare più tardi, o far aumentare dal proprietario le istanze della distribuzione.</translation>
    </message>
    <message>
        <source>{place} redirects{target} ({status}), which an endpoint never does, so nothing was sent on: check the URL, and whether a sign-in page is in between.</source>
        <translation>{place} reindirizza{target} ({status}), cosa che un endpoint non fa mai, quindi non è stato inviato altro: controllare l&apos;URL, e se c&apos;è una pagina di accesso in mezzo.</translation>
    </message>
    <message>
        <source>{place} refused the key or token (401): copy the endpoint&apos;s key again, or sign in again for the scope that the endpoint expects.</source>
        <translation>{place} ha rifiutato la chiave o il token (401): copiare di nuovo la chiave dell&apos;endpoint, o accedere di nuovo per l&apos;ambito che l&apos;endpoint si aspetta.</translation>
    </message>
    <message>
        <source>{place} refused the key or token (401: “{said}”): {advice}.</source>
        <translation>{place} ha rifiutato la chiave o il token (401: “{said}”): {advice}.</translation>
    </message>
    <message>
        <source>{place} refused the sign-in (401), and this computer&apos;s clock is {duration} {direction} the endpoint&apos;s: set the clock and sign in again.</source>
        <translation>{place} ha rifiutato l&apos;accesso (401), e l&apos;orologio di questo computer è {duration} {direction} dell&apos;endpoint: regolare l&apos;orologio e accedere di nuovo.</translation>
    </message>
    <message>
        <source>{place} rejected the request as too large ({shown}): {smaller}.</source>
        <translation>{place} ha rifiutato la richiesta perché troppo grande ({shown}): {smaller}.</translation>
    </message>
    <message>
        <source>{place} rejected the request&apos;s headers as too long (431): check the key and the deployment&apos;s name.</source>
        <translation>{place} ha rifiutato le intestazioni della richiesta perché troppo lunghe (431): controllare la chiave e il nome della distribuzione.</translation>
    </message>
    <message>
        <source>{place} requires a sign-in (401{quoted}) and none was given: {sign_in_somehow}.</source>
        <translation>{place} richiede un accesso (401{quoted}) e non ne è stato indicato uno: {sign_in_somehow}.</translation>
    </message>
    <message>
        <source>{place} took no more of the upload for {duration}: check the network, and send less at once if it happens again.</source>
        <translation>{place} non ha accettato altri dati dell&apos;invio per {duration}: controllare la rete, e se succede di nuovo inviare meno dati alla volta.</translation>
    </message>
    <message>
        <source>{plane}, slice {index}</source>
        <translation>{plane}, sezione {index}</translation>
    </message>
    <message>
        <source>{plane}, slice {slice_index}</source>
        <translation>{plane}, sezione {slice_index}</translation>
    </message>
    <message>
        <source>{price} It bills while idle, until it is deleted.</source>
        <translation>{price} Viene fatturato anche quando è inattivo, finché non viene eliminato.</translation>
    </message>
    <message>
        <source>{rstrip}: add the engine with --accept-licence once you have read and accepted that.</source>
        <translation>{rstrip}: aggiungere il motore con --accept-licence dopo averla letta e accettata.</translation>
    </message>
    <message>
        <source>{setting} were asked for, and no more fit</source>
        <translation>ne sono stati chiesti {setting}, e di più non ce ne stanno</translation>
    </message>
    <message>
        <source>{source} holds characters that no key has (spaces or letters with accents): copy the key again.</source>
        <translation>{source} contiene caratteri che nessuna chiave ha (spazi o lettere accentate): copiare di nuovo la chiave.</translation>
    </message>
    <message>
        <source>{source} holds more than one line: leave only the key or token in it.</source>
        <translation>{source} contiene più di una riga: lasciarvi solo la chiave o il token.</translation>
    </message>
    <message>
        <source>{source} is empty: put the endpoint&apos;s key or token into it.</source>
        <translation>{source} è vuoto: inserirvi la chiave o il token dell&apos;endpoint.</translation>
    </message>
    <message>
        <source>{twice} images have several labels of the set, which is not possible where only one is right; use many.</source>
        <translation>{twice} immagini hanno più etichette dell&apos;insieme, cosa non possibile dove una sola è giusta; usare many.</translation>
    </message>
    <message>
        <source>{variable} names the certificate file {named}</source>
        <translation>{variable} indica il file di certificati {named}</translation>
    </message>
    <message>
        <source>{what} cannot be found: check {todo}, and that this computer is on a network (perhaps a VPN) that knows it.</source>
        <translation>{what} non è stato trovato: controllare {todo}, e che questo computer sia in una rete (forse una VPN) che lo conosce.</translation>
    </message>
    <message>
        <source>{what}, and that cannot be read as certificates: it must be a PEM file (&apos;-----BEGIN CERTIFICATE-----&apos;).</source>
        <translation>{what}, e non può essere letto come certificati: deve essere un file PEM (&apos;-----BEGIN CERTIFICATE-----&apos;).</translation>
    </message>
    <message>
        <source>{where} has a host with letters that no host name has (such as % or \): write the name itself.</source>
        <translation>{where} ha un host con lettere che nessun nome di host ha (come % o \): scrivere il nome stesso.</translation>
    </message>
    <message>
        <source>{where} has a host with letters that no host name has: check it.</source>
        <translation>{where} ha un host con lettere che nessun nome di host ha: controllarlo.</translation>
    </message>
    <message>
        <source>{where} has a host with letters that only look like others: type the name yourself.</source>
        <translation>{where} ha un host con lettere che somigliano soltanto ad altre: digitare il nome a mano.</translation>
    </message>
    <message>
        <source>{where} has a number in the place of a host: write an IP address as four numbers, or a name.</source>
        <translation>{where} ha un numero al posto dell&apos;host: scrivere un indirizzo IP come quattro numeri, o un nome.</translation>
    </message>
    <message>
        <source>{where} has an IPv6 address that is none: check it.</source>
        <translation>{where} ha un indirizzo IPv6 non valido: controllarlo.</translation>
    </message>
    <message>
        <source>{where} holds files of several frames beside single images: {listed}. Give these files one by one, and the single images alone.</source>
        <translation>{where} contiene file con più fotogrammi accanto a immagini singole: {listed}. Indicare questi file uno per uno e le immagini singole da sole.</translation>
    </message>
    <message>
        <source>{where} holds no DICOM image that can be read: {names} (empty, cut off or damaged).</source>
        <translation>{where} non contiene immagini DICOM leggibili: {names} (vuote, troncate o danneggiate).</translation>
    </message>
    <message>
        <source>{where} holds no DICOM image; give a file or a folder with one series of images.</source>
        <translation>{where} non contiene immagini DICOM; indicare un file o una cartella con una serie di immagini.</translation>
    </message>
    <message>
        <source>{where} holds no image but another kind of DICOM object: {kinds}. Give the series of images that it belongs to.</source>
        <translation>{where} non contiene immagini ma un altro tipo di oggetto DICOM: {kinds}. Indicare la serie di immagini a cui appartiene.</translation>
    </message>
    <message>
        <source>{where} holds the tiles of a whole-slide image ({name}), not slices of a volume: export the region that you want as PNG or TIFF.</source>
        <translation>{where} contiene i riquadri di un vetrino digitale ({name}), non sezioni di un volume: esportare la regione desiderata come PNG o TIFF.</translation>
    </message>
    <message>
        <source>{where} holds volumes of different sizes: choose one with --frame 0 to {value}.</source>
        <translation>{where} contiene volumi di dimensioni diverse: sceglierne uno con --frame da 0 a {value}.</translation>
    </message>
    <message>
        <source>{where} holds {count} DICOM series; choose one with --series NUMBER, or give its folder: {listed}.</source>
        <translation>{where} contiene {count} serie DICOM; sceglierne una con --series NUMBER, o indicare la sua cartella: {listed}.</translation>
    </message>
    <message>
        <source>{where} holds {count} files of several frames each; give one of these files.</source>
        <translation>{where} contiene {count} file con più fotogrammi ciascuno; indicare uno di questi file.</translation>
    </message>
    <message>
        <source>{where} holds {count} overview images of a CT ({listed}), not slices of a volume; give one of these files.</source>
        <translation>{where} contiene {count} immagini panoramiche di una TC ({listed}), non sezioni di un volume; indicare uno di questi file.</translation>
    </message>
    <message>
        <source>{where} holds {count} {modality} pictures ({listed}), not slices of a volume; give one of these files.</source>
        <translation>{where} contiene {count} immagini {modality} ({listed}), non sezioni di un volume; indicare una di queste immagini.</translation>
    </message>
    <message>
        <source>{where} names no host: it should look like {example}.</source>
        <translation>{where} non indica un host: dovrebbe essere simile a {example}.</translation>
    </message>
    <message>
        <source>{where} promises {count} frames and holds {shape}; export it again.</source>
        <translation>{where} promette {count} fotogrammi e contiene {shape}; esportarlo di nuovo.</translation>
    </message>
    <message>
        <source>{where}: a field of it has far too long a name, or too much inside; leave it out.</source>
        <translation>{where}: un suo campo ha un nome troppo lungo o contiene troppo; ometterlo.</translation>
    </message>
    <message>
        <source>{where}: the field &quot;{name}&quot; looks like a secret, which a profile never keeps; {key_not_in_profile}.</source>
        <translation>{where}: il campo &quot;{name}&quot; sembra un segreto, che un profilo non conserva mai; {key_not_in_profile}.</translation>
    </message>
    <message>
        <source>{where}: the field {name} holds a control or an invisible character; write it anew.</source>
        <translation>{where}: il campo {name} contiene un carattere di controllo o invisibile; scriverlo di nuovo.</translation>
    </message>
    <message>
        <source>{where}: {attribute} has to be a full URL that begins with {listed}.</source>
        <translation>{where}: {attribute} deve essere un URL completo che inizia con {listed}.</translation>
    </message>
    <message>
        <source>{where}: {attribute} holds a key in its query; a profile keeps no secrets, so leave it out.</source>
        <translation>{where}: {attribute} contiene una chiave nella query; un profilo non conserva segreti, quindi toglierla.</translation>
    </message>
    <message>
        <source>{where}: {attribute} holds a user name or a password; a profile keeps no secrets, so leave it out.</source>
        <translation>{where}: {attribute} contiene un nome utente o una password; un profilo non conserva segreti, quindi toglierli.</translation>
    </message>
    <message>
        <source>{where}: {attribute} is &quot;{value}&quot;, but has to be one of {listed}.</source>
        <translation>{where}: {attribute} è &quot;{value}&quot;, ma deve essere uno tra {listed}.</translation>
    </message>
    <message>
        <source>{where}: {attribute} is not a URL.</source>
        <translation>{where}: {attribute} non è un URL.</translation>
    </message>
    <message>
        <source>{where}: {attribute} is {value}, but has to be between {least} and {most}.</source>
        <translation>{where}: {attribute} è {value}, ma deve essere tra {least} e {most}.</translation>
    </message>
    <message>
        <source>{where}: {how} the UID or number {wanted}; it holds {listed}.</source>
        <translation>{where}: {how} l&apos;UID o il numero {wanted}; contiene {listed}.</translation>
    </message>
    <message>
        <source>{words} is not a text of 1 to {longest_label} printable letters</source>
        <translation>{words} non è un testo da 1 a {longest_label} lettere stampabili</translation>
    </message>
</context>
<context>
    <name>SegmentEditorMedImageParse</name>
    <message>
        <source>This hidden module registers the Segment Editor effect Text prompt of MedImageParse.</source>
        <translation>Questo modulo nascosto registra l&apos;effetto Prompt di testo di MedImageParse per il Segment Editor.</translation>
    </message>
</context>
<context>
    <name>SegmentEditorMedImageParseLib.SegmentEditorEffect</name>
    <message>
        <source>Text prompt</source>
        <translation>Prompt di testo</translation>
    </message>
    <message>
        <source>Type what you want to see, for example &lt;i&gt;liver&lt;/i&gt;, and press Enter. The structure goes into the selected segment or into new ones. The image is sent to the endpoint that you choose, or to a demo engine on this computer. Not for clinical use.</source>
        <translation>Digitare in inglese ciò che si vuole vedere, per esempio &lt;i&gt;liver&lt;/i&gt;, e premere Invio. La struttura va nel segmento selezionato o in nuovi segmenti. L&apos;immagine viene inviata all&apos;endpoint scelto, o a un motore dimostrativo su questo computer. Non per uso clinico.</translation>
    </message>
</context>
<context>
    <name>SimilarImages</name>
    <message>
        <source> images</source>
        <translation> immagini</translation>
    </message>
    <message>
        <source>1 for every slice, 2 for every second slice. Fewer slices are faster and make a smaller index.</source>
        <translation>1 per ogni sezione, 2 per una sezione sì e una no. Meno sezioni sono più veloci e danno un indice più piccolo.</translation>
    </message>
    <message>
        <source>A picture of each slice, 128 pixels wide, is stored in the index, so that results can be shown. These are images of the patient.</source>
        <translation>Un&apos;immagine di ogni sezione, larga 128 pixel, viene memorizzata nell&apos;indice per poter mostrare i risultati. Sono immagini del paziente.</translation>
    </message>
    <message>
        <source>A region of interest (ROI), or a segmentation of which a segment is chosen below. The part of the slice inside its box is searched for.</source>
        <translation>Una regione di interesse (ROI), o una segmentazione di cui sotto si sceglie un segmento. Viene cercata la parte della sezione che vi è racchiusa.</translation>
    </message>
    <message>
        <source>Adapter:</source>
        <translation>Adattatore:</translation>
    </message>
    <message>
        <source>Adapters</source>
        <translation>Adattatori</translation>
    </message>
    <message>
        <source>Add all predictions to the scene as a table.</source>
        <translation>Aggiunge tutte le predizioni alla scena come tabella.</translation>
    </message>
    <message>
        <source>Add or change endpoints, sign in, and see what leaves this computer.</source>
        <translation>Aggiungere o modificare gli endpoint, accedere, e vedere che cosa esce da questo computer.</translation>
    </message>
    <message>
        <source>All images of the index, or those of one volume.</source>
        <translation>Tutte le immagini dell&apos;indice, o quelle di un solo volume.</translation>
    </message>
    <message>
        <source>Apply</source>
        <translation>Applica</translation>
    </message>
    <message>
        <source>Apply to:</source>
        <translation>Applica a:</translation>
    </message>
    <message>
        <source>At least two labels, one per line: modality, body part and finding.</source>
        <translation>Almeno due etichette, una per riga: modalità, parte del corpo e reperto.</translation>
    </message>
    <message>
        <source>Back</source>
        <translation>Indietro</translation>
    </message>
    <message>
        <source>Cancel</source>
        <translation>Annulla</translation>
    </message>
    <message>
        <source>Choose an index file</source>
        <translation>Scegliere un file di indice</translation>
    </message>
    <message>
        <source>Choose another index file, or create a new one.</source>
        <translation>Scegliere un altro file di indice, o crearne uno nuovo.</translation>
    </message>
    <message>
        <source>Classification</source>
        <translation>Classificazione</translation>
    </message>
    <message>
        <source>Classify</source>
        <translation>Classifica</translation>
    </message>
    <message>
        <source>Classify:</source>
        <translation>Classifica:</translation>
    </message>
    <message>
        <source>Click the images to label.</source>
        <translation>Fare clic sulle immagini da etichettare.</translation>
    </message>
    <message>
        <source>Compare with:</source>
        <translation>Confronta con:</translation>
    </message>
    <message>
        <source>Confusion</source>
        <translation>Confusione</translation>
    </message>
    <message>
        <source>Double-click a result to open that image at that slice.</source>
        <translation>Doppio clic su un risultato per aprire quell&apos;immagine a quella sezione.</translation>
    </message>
    <message>
        <source>Double-click a row to go to its slice.</source>
        <translation>Doppio clic su una riga per andare alla sua sezione.</translation>
    </message>
    <message>
        <source>Double-click a row to go to that image.</source>
        <translation>Doppio clic su una riga per andare a quell&apos;immagine.</translation>
    </message>
    <message>
        <source>Endpoint:</source>
        <translation>Endpoint:</translation>
    </message>
    <message>
        <source>Evaluate</source>
        <translation>Valuta</translation>
    </message>
    <message>
        <source>Exclude this volume</source>
        <translation>Escludi questo volume</translation>
    </message>
    <message>
        <source>File names and paths, or the series identifier, are stored in the index, so that a result can be loaded again. They may identify the patient.</source>
        <translation>Nomi e percorsi dei file, o l&apos;identificativo della serie, vengono memorizzati nell&apos;indice, così che un risultato si possa caricare di nuovo. Possono identificare il paziente.</translation>
    </message>
    <message>
        <source>Find outliers</source>
        <translation>Trova valori anomali</translation>
    </message>
    <message>
        <source>Find similar</source>
        <translation>Trova simili</translation>
    </message>
    <message>
        <source>Follow the slice view</source>
        <translation>Segui la vista di sezione</translation>
    </message>
    <message>
        <source>How many images to show.</source>
        <translation>Quante immagini mostrare.</translation>
    </message>
    <message>
        <source>Images of one patient are never used for both training and testing. Choose the set of labels that identifies the patients.</source>
        <translation>Le immagini di un paziente non vengono mai usate sia per l&apos;addestramento sia per la prova. Scegliere l&apos;insieme di etichette che identifica i pazienti.</translation>
    </message>
    <message>
        <source>Images of the index</source>
        <translation>Immagini dell&apos;indice</translation>
    </message>
    <message>
        <source>Images of:</source>
        <translation>Immagini di:</translation>
    </message>
    <message>
        <source>Images:</source>
        <translation>Immagini:</translation>
    </message>
    <message>
        <source>Index</source>
        <translation>Indicizza</translation>
    </message>
    <message>
        <source>Index file:</source>
        <translation>File di indice:</translation>
    </message>
    <message>
        <source>Index options</source>
        <translation>Opzioni dell&apos;indice</translation>
    </message>
    <message>
        <source>Kind:</source>
        <translation>Tipo:</translation>
    </message>
    <message>
        <source>Label images</source>
        <translation>Etichetta immagini</translation>
    </message>
    <message>
        <source>Label selected images</source>
        <translation>Etichetta le immagini selezionate</translation>
    </message>
    <message>
        <source>Label:</source>
        <translation>Etichetta:</translation>
    </message>
    <message>
        <source>Labels</source>
        <translation>Etichette</translation>
    </message>
    <message>
        <source>Labels:</source>
        <translation>Etichette:</translation>
    </message>
    <message>
        <source>Learn from each slice, or from one vector for each volume.</source>
        <translation>Apprende da ogni sezione, o da un vettore per ogni volume.</translation>
    </message>
    <message>
        <source>Learn from:</source>
        <translation>Impara da:</translation>
    </message>
    <message>
        <source>Leave out slices that are almost empty.</source>
        <translation>Esclude le sezioni quasi vuote.</translation>
    </message>
    <message>
        <source>Logistic regression is fast and works well with few images. The network has the published architecture.</source>
        <translation>La regressione logistica è veloce e funziona bene con poche immagini. La rete ha l&apos;architettura pubblicata.</translation>
    </message>
    <message>
        <source>Measures</source>
        <translation>Misure</translation>
    </message>
    <message>
        <source>Modality, body part and finding, in this order, as in the texts that the model was trained with.</source>
        <translation>Modalità, parte del corpo e reperto, in quest&apos;ordine, come nei testi con cui il modello è stato addestrato.</translation>
    </message>
    <message>
        <source>Next</source>
        <translation>Avanti</translation>
    </message>
    <message>
        <source>Not tested.</source>
        <translation>Non provato.</translation>
    </message>
    <message>
        <source>Number of results:</source>
        <translation>Risultati:</translation>
    </message>
    <message>
        <source>On the images that it was trained with, an adapter seems better than it is.</source>
        <translation>Sulle immagini usate per l&apos;addestramento, un adattatore sembra migliore di quanto sia.</translation>
    </message>
    <message>
        <source>One label per line, such as
chest x-ray pneumonia
chest x-ray no finding</source>
        <translation>Un&apos;etichetta per riga, per esempio
chest x-ray pneumonia
chest x-ray no finding</translation>
    </message>
    <message>
        <source>Open an adapter</source>
        <translation>Apri un adattatore</translation>
    </message>
    <message>
        <source>Open an adapter.</source>
        <translation>Apre un adattatore.</translation>
    </message>
    <message>
        <source>Outliers</source>
        <translation>Valori anomali</translation>
    </message>
    <message>
        <source>Patients:</source>
        <translation>Pazienti:</translation>
    </message>
    <message>
        <source>Plane:</source>
        <translation>Piano:</translation>
    </message>
    <message>
        <source>Predictions</source>
        <translation>Predizioni</translation>
    </message>
    <message>
        <source>ROC</source>
        <translation>ROC</translation>
    </message>
    <message>
        <source>Rank single slices, or whole studies by statistics of their slices.</source>
        <translation>Ordina singole sezioni, o studi interi secondo le statistiche delle loro sezioni.</translation>
    </message>
    <message>
        <source>Rank:</source>
        <translation>Ordina:</translation>
    </message>
    <message>
        <source>Region:</source>
        <translation>Regione:</translation>
    </message>
    <message>
        <source>Reliability</source>
        <translation>Affidabilità</translation>
    </message>
    <message>
        <source>Rows are true labels, columns are predicted labels.</source>
        <translation>Le righe sono le etichette vere, le colonne le etichette predette.</translation>
    </message>
    <message>
        <source>Save as:</source>
        <translation>Salva come:</translation>
    </message>
    <message>
        <source>Save the predictions in the index as a set of labels of this name. Leave it empty to save nothing.</source>
        <translation>Salva le predizioni nell&apos;indice come insieme di etichette con questo nome. Lasciare vuoto per non salvare nulla.</translation>
    </message>
    <message>
        <source>Search</source>
        <translation>Cerca</translation>
    </message>
    <message>
        <source>Search again whenever another slice is shown. Each of these slices is sent to the endpoint.</source>
        <translation>Cerca di nuovo ogni volta che viene mostrata un&apos;altra sezione. Ognuna di queste sezioni viene inviata all&apos;endpoint.</translation>
    </message>
    <message>
        <source>Segment:</source>
        <translation>Segmento:</translation>
    </message>
    <message>
        <source>Select a region</source>
        <translation>Selezionare una regione</translation>
    </message>
    <message>
        <source>Select a volume</source>
        <translation>Selezionare un volume</translation>
    </message>
    <message>
        <source>Select the reference studies.</source>
        <translation>Selezionare gli studi di riferimento.</translation>
    </message>
    <message>
        <source>Send a small synthetic image, never your own, and show the endpoint&apos;s response.</source>
        <translation>Invia una piccola immagine artificiale, mai un&apos;immagine propria, e mostra la risposta dell&apos;endpoint.</translation>
    </message>
    <message>
        <source>Set of labels (optional)</source>
        <translation>Insieme di etichette (facoltativo)</translation>
    </message>
    <message>
        <source>Set:</source>
        <translation>Insieme:</translation>
    </message>
    <message>
        <source>Settings…</source>
        <translation>Impostazioni…</translation>
    </message>
    <message>
        <source>Show as plot</source>
        <translation>Grafico</translation>
    </message>
    <message>
        <source>Show as table</source>
        <translation>Tabella</translation>
    </message>
    <message>
        <source>Show images</source>
        <translation>Mostra immagini</translation>
    </message>
    <message>
        <source>Show the ROC curves in the plot view.</source>
        <translation>Mostra le curve ROC nella vista dei grafici.</translation>
    </message>
    <message>
        <source>Show the confusion matrix in the table view.</source>
        <translation>Mostra la matrice di confusione nella vista tabella.</translation>
    </message>
    <message>
        <source>Show the next images.</source>
        <translation>Mostra le immagini successive.</translation>
    </message>
    <message>
        <source>Show the previous images.</source>
        <translation>Mostra le immagini precedenti.</translation>
    </message>
    <message>
        <source>Show the reliability diagram (calibration) in the plot view.</source>
        <translation>Mostra il diagramma di affidabilità (calibrazione) nella vista grafico.</translation>
    </message>
    <message>
        <source>Similar images</source>
        <translation>Immagini simili</translation>
    </message>
    <message>
        <source>Similar images lie close together. Click a point to go to its slice.</source>
        <translation>Le immagini simili sono vicine tra loro. Fare clic su un punto per andare alla sua sezione.</translation>
    </message>
    <message>
        <source>Similar to:</source>
        <translation>Simili a:</translation>
    </message>
    <message>
        <source>Skip empty slices</source>
        <translation>Salta le sezioni vuote</translation>
    </message>
    <message>
        <source>Slice step:</source>
        <translation>Passo tra sezioni:</translation>
    </message>
    <message>
        <source>Start a demo endpoint on this computer. It needs no account. It is not MedImageInsight: it finds visually similar images but does not support text search.</source>
        <translation>Avvia un endpoint dimostrativo su questo computer. Non richiede un account. Non è MedImageInsight: trova immagini visivamente simili ma non permette la ricerca testuale.</translation>
    </message>
    <message>
        <source>Start local demo</source>
        <translation>Avvia demo locale</translation>
    </message>
    <message>
        <source>Stop. (Esc)</source>
        <translation>Interrompe. (Esc)</translation>
    </message>
    <message>
        <source>Store file paths</source>
        <translation>Memorizza i percorsi dei file</translation>
    </message>
    <message>
        <source>Store thumbnails</source>
        <translation>Memorizza miniature</translation>
    </message>
    <message>
        <source>Studies</source>
        <translation>Studi</translation>
    </message>
    <message>
        <source>Table</source>
        <translation>Tabella</translation>
    </message>
    <message>
        <source>Test connection</source>
        <translation>Prova connessione</translation>
    </message>
    <message>
        <source>Test on:</source>
        <translation>Prova su:</translation>
    </message>
    <message>
        <source>Text:</source>
        <translation>Testo:</translation>
    </message>
    <message>
        <source>The MedImageInsight endpoint that the images are sent to.</source>
        <translation>L&apos;endpoint MedImageInsight a cui vengono inviate le immagini.</translation>
    </message>
    <message>
        <source>The adapter to evaluate and apply.</source>
        <translation>L&apos;adattatore da valutare e applicare.</translation>
    </message>
    <message>
        <source>The adapter&apos;s performance, with 95 % confidence intervals.</source>
        <translation>Le prestazioni dell&apos;adattatore, con intervalli di confidenza del 95 %.</translation>
    </message>
    <message>
        <source>The box around this segment is searched for.</source>
        <translation>Viene cercato il riquadro attorno a questo segmento.</translation>
    </message>
    <message>
        <source>The images that are compared with the labels.</source>
        <translation>Le immagini che vengono confrontate con le etichette.</translation>
    </message>
    <message>
        <source>The images to classify with the adapter.</source>
        <translation>Le immagini da classificare con l&apos;adattatore.</translation>
    </message>
    <message>
        <source>The label for the selected images. Choose one, or type a new name.</source>
        <translation>L&apos;etichetta per le immagini selezionate. Sceglierne una, o digitare un nuovo nome.</translation>
    </message>
    <message>
        <source>The most similar images are the volume&apos;s own slices; exclude them to see other studies.</source>
        <translation>Le immagini più simili sono le sezioni del volume stesso; escluderle per vedere altri studi.</translation>
    </message>
    <message>
        <source>The plane of the slices that are indexed.</source>
        <translation>Il piano delle sezioni che vengono indicizzate.</translation>
    </message>
    <message>
        <source>The property that the labels describe, such as side or diagnosis. Choose one, or type a new name.</source>
        <translation>La proprietà descritta dalle etichette, per esempio lato o diagnosi. Sceglierne una, o digitare un nuovo nome.</translation>
    </message>
    <message>
        <source>The reference images. All other images are ranked by their distance to them.</source>
        <translation>Le immagini di riferimento. Tutte le altre vengono ordinate secondo la distanza da esse.</translation>
    </message>
    <message>
        <source>The set of labels to learn.</source>
        <translation>L&apos;insieme di etichette da apprendere.</translation>
    </message>
    <message>
        <source>The volume to index, or whose slice to search with.</source>
        <translation>Il volume da indicizzare, o con una sezione del quale cercare.</translation>
    </message>
    <message>
        <source>Train or open an adapter</source>
        <translation>Addestra o apri un adattatore</translation>
    </message>
    <message>
        <source>Train…</source>
        <translation>Addestra…</translation>
    </message>
    <message>
        <source>Volume:</source>
        <translation>Volume:</translation>
    </message>
    <message>
        <source>What to add to the index.</source>
        <translation>Che cosa aggiungere all&apos;indice.</translation>
    </message>
    <message>
        <source>What to search with.</source>
        <translation>Con che cosa cercare.</translation>
    </message>
    <message>
        <source>Your own labels, or a ready-made set.</source>
        <translation>Le proprie etichette, o un insieme già pronto.</translation>
    </message>
    <message>
        <source>computed tomography chest nodule</source>
        <translation>computed tomography chest nodule</translation>
    </message>
    <message>
        <source>…</source>
        <translation>…</translation>
    </message>
</context>
<context>
    <name>TextPrompt</name>
    <message>
        <source> mm</source>
        <translation> mm</translation>
    </message>
    <message>
        <source>&amp;Combine:</source>
        <translation>&amp;Combina:</translation>
    </message>
    <message>
        <source>&amp;Endpoint:</source>
        <translation>&amp;Endpoint:</translation>
    </message>
    <message>
        <source>&amp;Find:</source>
        <translation>&amp;Trova:</translation>
    </message>
    <message>
        <source>&amp;Into:</source>
        <translation>&amp;In:</translation>
    </message>
    <message>
        <source>&amp;Look at:</source>
        <translation>&amp;Considera:</translation>
    </message>
    <message>
        <source>&amp;Margin:</source>
        <translation>&amp;Margine:</translation>
    </message>
    <message>
        <source>&amp;Region:</source>
        <translation>&amp;Regione:</translation>
    </message>
    <message>
        <source>&amp;Slices:</source>
        <translation>&amp;Sezioni:</translation>
    </message>
    <message>
        <source>By how much the segment&apos;s box is grown on each side.</source>
        <translation>Di quanto il parallelepipedo del segmento viene ampliato su ogni lato.</translation>
    </message>
    <message>
        <source>Cancel</source>
        <translation>Annulla</translation>
    </message>
    <message>
        <source>Combine</source>
        <translation>Combina</translation>
    </message>
    <message>
        <source>Endpoint</source>
        <translation>Endpoint</translation>
    </message>
    <message>
        <source>Find</source>
        <translation>Trova</translation>
    </message>
    <message>
        <source>First slice</source>
        <translation>Prima sezione</translation>
    </message>
    <message>
        <source>For a volume, only this part is sent. Nothing outside of it changes.</source>
        <translation>Per un volume viene inviata solo questa parte. Al di fuori non cambia nulla.</translation>
    </message>
    <message>
        <source>Into</source>
        <translation>In</translation>
    </message>
    <message>
        <source>Last slice</source>
        <translation>Ultima sezione</translation>
    </message>
    <message>
        <source>Look at</source>
        <translation>Considera</translation>
    </message>
    <message>
        <source>Margin</source>
        <translation>Margine</translation>
    </message>
    <message>
        <source>Region</source>
        <translation>Regione</translation>
    </message>
    <message>
        <source>Run</source>
        <translation>Esegui</translation>
    </message>
    <message>
        <source>Stop the run. Nothing is changed. (Esc)</source>
        <translation>Interrompe l&apos;esecuzione. Non cambia nulla. (Esc)</translation>
    </message>
    <message>
        <source>The whole volume (MedImageParse 3D), or slices of it (MedImageParse).</source>
        <translation>Il volume intero (MedImageParse 3D), o sue sezioni (MedImageParse).</translation>
    </message>
    <message>
        <source>What happens to what is in the segment. Outside of the slices or the region that are chosen nothing changes.</source>
        <translation>Che cosa succede a ciò che è nel segmento. Fuori dalle sezioni o dalla regione scelte non cambia nulla.</translation>
    </message>
    <message>
        <source>What to find. Empty: the selected segment&apos;s name. Enter runs, Esc cancels.</source>
        <translation>Che cosa trovare. Vuoto: il nome del segmento selezionato. Invio esegue, Esc interrompe.</translation>
    </message>
    <message>
        <source>to</source>
        <translation>a</translation>
    </message>
</context>
<context>
    <name>panels.adapter_box</name>
    <message>
        <source>%</source>
        <translation>%</translation>
    </message>
    <message>
        <source>95 %</source>
        <translation>95 %</translation>
    </message>
    <message>
        <source>AUROC (mean)</source>
        <translation>AUROC (media)</translation>
    </message>
    <message>
        <source>Accuracy</source>
        <translation>Accuratezza</translation>
    </message>
    <message>
        <source>Adapter predictions</source>
        <translation>Predizioni dell&apos;adattatore</translation>
    </message>
    <message>
        <source>Adapters (*.npz)</source>
        <translation>Adattatori (*.npz)</translation>
    </message>
    <message>
        <source>All labeled images</source>
        <translation>Tutte quelle etichettate</translation>
    </message>
    <message>
        <source>Average precision</source>
        <translation>Precisione media</translation>
    </message>
    <message>
        <source>Balanced accuracy</source>
        <translation>Accuratezza bilanciata</translation>
    </message>
    <message>
        <source>Calibration error</source>
        <translation>Errore di calibrazione</translation>
    </message>
    <message>
        <source>Cancelled. No adapter was written.</source>
        <translation>Interrotto. Nessun adattatore è stato scritto.</translation>
    </message>
    <message>
        <source>Classify these images with the adapter.</source>
        <translation>Classifica queste immagini con l&apos;adattatore.</translation>
    </message>
    <message>
        <source>Each slice</source>
        <translation>Ogni sezione</translation>
    </message>
    <message>
        <source>Evaluate the adapter on images of the index. Nothing is sent.</source>
        <translation>Valuta l&apos;adattatore su immagini dell&apos;indice. Non viene inviato nulla.</translation>
    </message>
    <message>
        <source>Held-out test images</source>
        <translation>Immagini di test</translation>
    </message>
    <message>
        <source>Image</source>
        <translation>Immagine</translation>
    </message>
    <message>
        <source>Label</source>
        <translation>Etichetta</translation>
    </message>
    <message>
        <source>Logistic regression</source>
        <translation>Regressione logistica</translation>
    </message>
    <message>
        <source>Measure</source>
        <translation>Misura</translation>
    </message>
    <message>
        <source>Measured on {items} images of {groups} patients.</source>
        <translation>Misurato su {items} immagini di {groups} pazienti.</translation>
    </message>
    <message>
        <source>New images</source>
        <translation>Immagini nuove</translation>
    </message>
    <message>
        <source>One per volume</source>
        <translation>Uno per volume</translation>
    </message>
    <message>
        <source>Open an adapter</source>
        <translation>Apri un adattatore</translation>
    </message>
    <message>
        <source>Place</source>
        <translation>Posizione</translation>
    </message>
    <message>
        <source>Probability</source>
        <translation>Probabilità</translation>
    </message>
    <message>
        <source>Published network</source>
        <translation>Rete pubblicata</translation>
    </message>
    <message>
        <source>Save the adapter</source>
        <translation>Salva l&apos;adattatore</translation>
    </message>
    <message>
        <source>The adapter is trained.</source>
        <translation>L&apos;adattatore è addestrato.</translation>
    </message>
    <message>
        <source>The adapter&apos;s file was not found. Open another.</source>
        <translation>Il file dell&apos;adattatore non è stato trovato. Aprirne un altro.</translation>
    </message>
    <message>
        <source>The index</source>
        <translation>L&apos;indice</translation>
    </message>
    <message>
        <source>The index has no labels. Label images first.</source>
        <translation>L&apos;indice non ha etichette. Etichettare prima delle immagini.</translation>
    </message>
    <message>
        <source>This volume</source>
        <translation>Questo volume</translation>
    </message>
    <message>
        <source>Train an adapter on these labels. Nothing is sent.</source>
        <translation>Addestra un adattatore con queste etichette. Non viene inviato nulla.</translation>
    </message>
    <message>
        <source>Train an adapter, or open one.</source>
        <translation>Addestrare un adattatore, o aprirne uno.</translation>
    </message>
    <message>
        <source>Value</source>
        <translation>Valore</translation>
    </message>
    <message>
        <source>Volumes, 7 statistics</source>
        <translation>Volumi, 7 statistiche</translation>
    </message>
    <message>
        <source>Volumes, mean</source>
        <translation>Volumi, media</translation>
    </message>
    <message>
        <source>{count} images: {told}.</source>
        <translation>{count} immagini: {told}.</translation>
    </message>
    <message>
        <source>{place}, {name}</source>
        <translation>{place}, {name}</translation>
    </message>
    <message>
        <source>{set} ({places} images)</source>
        <translation>{set} ({places} immagini)</translation>
    </message>
</context>
<context>
    <name>panels.adapter_plots</name>
    <message>
        <source>Confusion matrix</source>
        <translation>Matrice di confusione</translation>
    </message>
    <message>
        <source>False positive rate (1 - specificity)</source>
        <translation>Tasso di falsi positivi (1 - specificità)</translation>
    </message>
    <message>
        <source>Images</source>
        <translation>Immagini</translation>
    </message>
    <message>
        <source>Observed frequency</source>
        <translation>Frequenza osservata</translation>
    </message>
    <message>
        <source>Predicted probability</source>
        <translation>Probabilità predetta</translation>
    </message>
    <message>
        <source>ROC curves</source>
        <translation>Curve ROC</translation>
    </message>
    <message>
        <source>Reliability</source>
        <translation>Affidabilità</translation>
    </message>
    <message>
        <source>Sensitivity</source>
        <translation>Sensibilità</translation>
    </message>
    <message>
        <source>True label</source>
        <translation>Etichetta vera</translation>
    </message>
    <message>
        <source>false negative</source>
        <translation>falso negativo</translation>
    </message>
    <message>
        <source>false positive</source>
        <translation>falso positivo</translation>
    </message>
    <message>
        <source>predicted {label}</source>
        <translation>predetto {label}</translation>
    </message>
    <message>
        <source>true negative</source>
        <translation>vero negativo</translation>
    </message>
    <message>
        <source>true positive</source>
        <translation>vero positivo</translation>
    </message>
    <message>
        <source>{label}, false positive rate</source>
        <translation>{label}, tasso di falsi positivi</translation>
    </message>
</context>
<context>
    <name>panels.browse_dialog</name>
    <message>
        <source>Abdomen</source>
        <translation>Addome</translation>
    </message>
    <message>
        <source>All modalities</source>
        <translation>Tutte le modalità</translation>
    </message>
    <message>
        <source>Bones, spine and muscles</source>
        <translation>Ossa, colonna e muscoli</translation>
    </message>
    <message>
        <source>Cells</source>
        <translation>Cellule</translation>
    </message>
    <message>
        <source>Chest, heart and vessels</source>
        <translation>Torace, cuore e vasi</translation>
    </message>
    <message>
        <source>Dermoscopy</source>
        <translation>Dermatoscopia</translation>
    </message>
    <message>
        <source>Endoscopy</source>
        <translation>Endoscopia</translation>
    </message>
    <message>
        <source>Filter</source>
        <translation>Filtra</translation>
    </message>
    <message>
        <source>Fundus photography</source>
        <translation>Fotografia del fondo oculare</translation>
    </message>
    <message>
        <source>Head and neck</source>
        <translation>Testa e collo</translation>
    </message>
    <message>
        <source>Known targets</source>
        <translation>Strutture note</translation>
    </message>
    <message>
        <source>MRI</source>
        <translation>RM</translation>
    </message>
    <message>
        <source>Microscopy</source>
        <translation>Microscopia</translation>
    </message>
    <message>
        <source>Modality</source>
        <translation>Modalità</translation>
    </message>
    <message>
        <source>No known target matches. You can type other targets.</source>
        <translation>Nessuna struttura nota corrisponde. Si possono digitare altre strutture.</translation>
    </message>
    <message>
        <source>OCT</source>
        <translation>OCT</translation>
    </message>
    <message>
        <source>Other</source>
        <translation>Altro</translation>
    </message>
    <message>
        <source>PET</source>
        <translation>PET</translation>
    </message>
    <message>
        <source>Pathology</source>
        <translation>Patologia</translation>
    </message>
    <message>
        <source>Pelvis</source>
        <translation>Pelvi</translation>
    </message>
    <message>
        <source>Show only targets that the model cards recommend for this modality.</source>
        <translation>Mostra solo le strutture che le schede dei modelli consigliano per questa modalità.</translation>
    </message>
    <message>
        <source>Tumors and other findings</source>
        <translation>Tumori e altri reperti</translation>
    </message>
    <message>
        <source>Ultrasound</source>
        <translation>Ecografia</translation>
    </message>
    <message>
        <source>X-ray</source>
        <translation>Radiografia</translation>
    </message>
    <message>
        <source>{count} selected. You can type other targets.</source>
        <translation>{count} selezionate. Si possono digitare altre strutture.</translation>
    </message>
    <message>
        <source>{group} ({count})</source>
        <translation>{group} ({count})</translation>
    </message>
</context>
<context>
    <name>panels.classify_box</name>
    <message>
        <source>Add the results to the scene as a plot.</source>
        <translation>Aggiunge i risultati alla scena come grafico.</translation>
    </message>
    <message>
        <source>Add the results to the scene as a table.</source>
        <translation>Aggiunge i risultati alla scena come tabella.</translation>
    </message>
    <message>
        <source>All slices of this volume</source>
        <translation>Tutte le sezioni di questo volume</translation>
    </message>
    <message>
        <source>Classify with these labels, without training.</source>
        <translation>Classifica con queste etichette, senza addestramento.</translation>
    </message>
    <message>
        <source>Double-click a row to go to its best matching slice.</source>
        <translation>Fare doppio clic su una riga per andare alla sezione che le corrisponde meglio.</translation>
    </message>
    <message>
        <source>Every fifth slice of this volume</source>
        <translation>Una sezione ogni cinque di questo volume</translation>
    </message>
    <message>
        <source>Label</source>
        <translation>Etichetta</translation>
    </message>
    <message>
        <source>Labels of {volume}</source>
        <translation>Etichette di {volume}</translation>
    </message>
    <message>
        <source>My own labels</source>
        <translation>Le mie etichette</translation>
    </message>
    <message>
        <source>Nothing has been classified yet.</source>
        <translation>Non è stato ancora classificato nulla.</translation>
    </message>
    <message>
        <source>Result for {count} {plane} slices of {volume} together.</source>
        <translation>Risultato per {count} sezioni {plane} di {volume} insieme.</translation>
    </message>
    <message>
        <source>Sent as: {text}</source>
        <translation>Inviato come: {text}</translation>
    </message>
    <message>
        <source>Share</source>
        <translation>Quota</translation>
    </message>
    <message>
        <source>Slice</source>
        <translation>Sezione</translation>
    </message>
    <message>
        <source>The volume is no longer in the scene.</source>
        <translation>Il volume non è più nella scena.</translation>
    </message>
    <message>
        <source>This slice</source>
        <translation>Questa sezione</translation>
    </message>
    <message>
        <source>Type at least two labels, one per line. They are compared with each other.</source>
        <translation>Digitare almeno due etichette, una per riga. Vengono confrontate tra loro.</translation>
    </message>
    <message>
        <source>{percent} %</source>
        <translation>{percent} %</translation>
    </message>
    <message>
        <source>{plane} slice {index} of {volume}.</source>
        <translation>Sezione {plane} {index} di {volume}.</translation>
    </message>
</context>
<context>
    <name>panels.completer</name>
    <message>
        <source>Suggested targets</source>
        <translation>Strutture suggerite</translation>
    </message>
    <message>
        <source>not recommended for this image</source>
        <translation>non consigliata per questa immagine</translation>
    </message>
</context>
<context>
    <name>panels.deploy_dialog</name>
    <message>
        <source>Automatic</source>
        <translation>Automatico</translation>
    </message>
    <message>
        <source>Azure ML token</source>
        <translation>Token di Azure ML</translation>
    </message>
    <message>
        <source>Azure continues what was started, and it costs money. Press Create endpoint again to continue, or delete the endpoint.</source>
        <translation>Azure prosegue ciò che è stato avviato, e ciò comporta costi. Premere di nuovo Crea endpoint per proseguire, o eliminare l&apos;endpoint.</translation>
    </message>
    <message>
        <source>Azure is working: {stage}, {minutes} min so far.</source>
        <translation>Azure è al lavoro: {stage}, finora {minutes} min.</translation>
    </message>
    <message>
        <source>Checking the workspace, the quota and the price…</source>
        <translation>Verifica dell&apos;area di lavoro, della quota e del prezzo…</translation>
    </message>
    <message>
        <source>Create the endpoint as described above.</source>
        <translation>Crea l&apos;endpoint come descritto sopra.</translation>
    </message>
    <message>
        <source>Creating the endpoint. This takes 10 to 30 minutes…</source>
        <translation>Creazione dell&apos;endpoint. Richiede da 10 a 30 minuti…</translation>
    </message>
    <message>
        <source>Delete the endpoint {name} and its deployment? It stops working for everyone who uses it.</source>
        <translation>Eliminare l&apos;endpoint {name} e la sua distribuzione? Smetterà di funzionare per tutti coloro che lo usano.</translation>
    </message>
    <message>
        <source>Deleting the endpoint…</source>
        <translation>Eliminazione dell&apos;endpoint…</translation>
    </message>
    <message>
        <source>Deploy an endpoint in Azure</source>
        <translation>Distribuisci un endpoint in Azure</translation>
    </message>
    <message>
        <source>Microsoft Entra</source>
        <translation>Microsoft Entra</translation>
    </message>
    <message>
        <source>No endpoint created by this program was found.</source>
        <translation>Non è stato trovato nessun endpoint creato da questo programma.</translation>
    </message>
    <message>
        <source>Searching…</source>
        <translation>Ricerca…</translation>
    </message>
    <message>
        <source>Show what will be created first.</source>
        <translation>Prima mostrare che cosa verrà creato.</translation>
    </message>
    <message>
        <source>The endpoint&apos;s key</source>
        <translation>La chiave dell&apos;endpoint</translation>
    </message>
    <message>
        <source>deleting</source>
        <translation>eliminazione</translation>
    </message>
    <message>
        <source>directing the traffic</source>
        <translation>instradamento del traffico</translation>
    </message>
    <message>
        <source>making the deployment</source>
        <translation>creazione della distribuzione</translation>
    </message>
    <message>
        <source>making the endpoint</source>
        <translation>creazione dell&apos;endpoint</translation>
    </message>
    <message>
        <source>removing the failed deployment</source>
        <translation>rimozione della distribuzione non riuscita</translation>
    </message>
    <message>
        <source>{name} was deleted and no longer costs anything.</source>
        <translation>{name} è stato eliminato e non comporta più costi.</translation>
    </message>
</context>
<context>
    <name>panels.endpoint_box</name>
    <message>
        <source>Demo engine, not {model}; it needs nothing</source>
        <translation>Motore dimostrativo, non {model}; non richiede nulla</translation>
    </message>
    <message>
        <source>If you no longer need it, delete it in Azure, or with medimageparse deploy delete.</source>
        <translation>Quando non serve più, eliminarlo in Azure o con medimageparse deploy delete.</translation>
    </message>
    <message>
        <source>Local demo</source>
        <translation>Demo locale</translation>
    </message>
    <message>
        <source>Not started. A demo engine on this computer, not {model}. It needs no account.</source>
        <translation>Non avviato. Un motore dimostrativo su questo computer, non {model}. Non richiede un account.</translation>
    </message>
    <message>
        <source>Not tested.</source>
        <translation>Non provato.</translation>
    </message>
    <message>
        <source>Not tested: nothing was sent.</source>
        <translation>Non provato: non è stato inviato nulla.</translation>
    </message>
    <message>
        <source>Running on this computer. This is a demo engine, not {model}.</source>
        <translation>In esecuzione su questo computer. È un motore dimostrativo, non {model}.</translation>
    </message>
    <message>
        <source>Running on this computer: {engine}. The first request waits until the engine has loaded.</source>
        <translation>In esecuzione su questo computer: {engine}. La prima richiesta attende la fine del caricamento del motore.</translation>
    </message>
    <message>
        <source>Start local demo</source>
        <translation>Avvia demo locale</translation>
    </message>
    <message>
        <source>Start local engine</source>
        <translation>Avvia motore locale</translation>
    </message>
    <message>
        <source>Start the local demo, or choose another endpoint.</source>
        <translation>Avviare la demo locale, o scegliere un altro endpoint.</translation>
    </message>
    <message>
        <source>Starting…</source>
        <translation>Avvio…</translation>
    </message>
    <message>
        <source>Stop local demo</source>
        <translation>Ferma demo locale</translation>
    </message>
    <message>
        <source>Stop local engine</source>
        <translation>Ferma motore locale</translation>
    </message>
    <message>
        <source>Stop test</source>
        <translation>Interrompi prova</translation>
    </message>
    <message>
        <source>Test connection</source>
        <translation>Prova connessione</translation>
    </message>
    <message>
        <source>Testing…</source>
        <translation>Prova in corso…</translation>
    </message>
    <message>
        <source>The demo uses classical image features and does not support text. Choose a MedImageInsight endpoint.</source>
        <translation>La demo usa caratteristiche classiche dell&apos;immagine e non gestisce il testo. Scegliere un endpoint MedImageInsight.</translation>
    </message>
    <message>
        <source>The endpoint {name} was not found on this computer. Choose another, or add it in Settings.</source>
        <translation>L&apos;endpoint {name} non è stato trovato su questo computer. Sceglierne un altro o aggiungerlo nelle impostazioni.</translation>
    </message>
    <message>
        <source>The local demo is starting.</source>
        <translation>La demo locale si sta avviando.</translation>
    </message>
    <message>
        <source>This endpoint runs {model}, which does not segment. Choose another endpoint.</source>
        <translation>Questo endpoint esegue {model}, che non segmenta. Scegliere un altro endpoint.</translation>
    </message>
    <message>
        <source>This endpoint runs {model}, which takes slices. Choose slices, or another endpoint.</source>
        <translation>Questo endpoint esegue {model}, che accetta sezioni. Scegliere sezioni, o un altro endpoint.</translation>
    </message>
    <message>
        <source>This endpoint runs {model}, which takes volumes. Choose Volume (3D), or another endpoint.</source>
        <translation>Questo endpoint esegue {model}, che accetta volumi. Scegliere Volume (3D), o un altro endpoint.</translation>
    </message>
    <message>
        <source>This is a 2D picture. Choose This slice (2D).</source>
        <translation>Questa è un&apos;immagine 2D. Scegliere Questa sezione (2D).</translation>
    </message>
    <message>
        <source>license not stated</source>
        <translation>licenza non indicata</translation>
    </message>
    <message>
        <source>{name} (not found)</source>
        <translation>{name} (non trovato)</translation>
    </message>
</context>
<context>
    <name>panels.find_box</name>
    <message>
        <source>Find my endpoints</source>
        <translation>Trova i miei endpoint</translation>
    </message>
    <message>
        <source>No endpoint was found.</source>
        <translation>Non è stato trovato alcun endpoint.</translation>
    </message>
    <message>
        <source>Reading the endpoint&apos;s settings…</source>
        <translation>Lettura delle impostazioni dell&apos;endpoint…</translation>
    </message>
    <message>
        <source>Searching…</source>
        <translation>Ricerca…</translation>
    </message>
    <message>
        <source>Stop</source>
        <translation>Interrompi</translation>
    </message>
    <message>
        <source>unknown model</source>
        <translation>modello sconosciuto</translation>
    </message>
    <message>
        <source>{name}: {model}, in {workspace}</source>
        <translation>{name}: {model}, in {workspace}</translation>
    </message>
</context>
<context>
    <name>panels.hits_grid</name>
    <message>
        <source>2D picture</source>
        <translation>Immagine 2D</translation>
    </message>
    <message>
        <source>Double-click to open that image at that slice.</source>
        <translation>Doppio clic per aprire quell&apos;immagine a quella sezione.</translation>
    </message>
    <message>
        <source>Indexed {when}</source>
        <translation>Indicizzato {when}</translation>
    </message>
    <message>
        <source>The index does not store the location of this image.</source>
        <translation>L&apos;indice non memorizza la posizione di questa immagine.</translation>
    </message>
    <message>
        <source>Window: {window}</source>
        <translation>Finestra: {window}</translation>
    </message>
    <message>
        <source>axial {index}</source>
        <translation>assiale {index}</translation>
    </message>
    <message>
        <source>coronal {index}</source>
        <translation>coronale {index}</translation>
    </message>
    <message>
        <source>sagittal {index}</source>
        <translation>sagittale {index}</translation>
    </message>
    <message>
        <source>whole volume</source>
        <translation>volume intero</translation>
    </message>
    <message>
        <source>{place}, similarity {similarity}</source>
        <translation>{place}, somiglianza {similarity}</translation>
    </message>
    <message>
        <source>{rank}. {name}</source>
        <translation>{rank}. {name}</translation>
    </message>
</context>
<context>
    <name>panels.index_box</name>
    <message>
        <source>A folder…</source>
        <translation>Una cartella…</translation>
    </message>
    <message>
        <source>Add these images to the index.</source>
        <translation>Aggiunge queste immagini all&apos;indice.</translation>
    </message>
    <message>
        <source>All loaded volumes</source>
        <translation>Tutti i volumi caricati</translation>
    </message>
    <message>
        <source>Automatic</source>
        <translation>Automatico</translation>
    </message>
    <message>
        <source>Axial</source>
        <translation>Assiale</translation>
    </message>
    <message>
        <source>Cancelled. What was stored is kept. Press Index to continue.</source>
        <translation>Interrotto. Ciò che era memorizzato è conservato. Premere Indicizza per continuare.</translation>
    </message>
    <message>
        <source>Coronal</source>
        <translation>Coronale</translation>
    </message>
    <message>
        <source>DICOM database</source>
        <translation>Database DICOM</translation>
    </message>
    <message>
        <source>Default index</source>
        <translation>Indice predefinito</translation>
    </message>
    <message>
        <source>Index a folder</source>
        <translation>Indicizza una cartella</translation>
    </message>
    <message>
        <source>Indexes (*.index)</source>
        <translation>Indici (*.index)</translation>
    </message>
    <message>
        <source>New index</source>
        <translation>Nuovo indice</translation>
    </message>
    <message>
        <source>New index…</source>
        <translation>Nuovo indice…</translation>
    </message>
    <message>
        <source>No volume is loaded yet.</source>
        <translation>Nessun volume è ancora caricato.</translation>
    </message>
    <message>
        <source>Open an index</source>
        <translation>Apri un indice</translation>
    </message>
    <message>
        <source>Open an index…</source>
        <translation>Apri un indice…</translation>
    </message>
    <message>
        <source>Reading the index…</source>
        <translation>Lettura dell&apos;indice…</translation>
    </message>
    <message>
        <source>Sagittal</source>
        <translation>Sagittale</translation>
    </message>
    <message>
        <source>The index contains {images} images of one volume, {size}.</source>
        <translation>L&apos;indice contiene {images} immagini di un volume, {size}.</translation>
    </message>
    <message>
        <source>The index contains {images} images of {studies} volumes and pictures, {size}.</source>
        <translation>L&apos;indice contiene {images} immagini di {studies} volumi e immagini, {size}.</translation>
    </message>
    <message>
        <source>The index is empty.</source>
        <translation>L&apos;indice è vuoto.</translation>
    </message>
    <message>
        <source>This volume</source>
        <translation>Questo volume</translation>
    </message>
    <message>
        <source>{left} empty slices were skipped.</source>
        <translation>{left} sezioni vuote sono state saltate.</translation>
    </message>
    <message>
        <source>{new} slices added, {there} already in the index.</source>
        <translation>{new} sezioni aggiunte, {there} già nell&apos;indice.</translation>
    </message>
    <message>
        <source>{size} sent in {seconds} s.</source>
        <translation>{size} inviati in {seconds} s.</translation>
    </message>
</context>
<context>
    <name>panels.input_box</name>
    <message>
        <source>All slices (2D)</source>
        <translation>Tutte le sezioni (2D)</translation>
    </message>
    <message>
        <source>Axial</source>
        <translation>Assiale</translation>
    </message>
    <message>
        <source>Coronal</source>
        <translation>Coronale</translation>
    </message>
    <message>
        <source>Sagittal</source>
        <translation>Sagittale</translation>
    </message>
    <message>
        <source>Select a volume, or load the sample.</source>
        <translation>Selezionare un volume o caricare l&apos;esempio.</translation>
    </message>
    <message>
        <source>Slices from–to (2D)</source>
        <translation>Sezioni da–a (2D)</translation>
    </message>
    <message>
        <source>There is no volume to read. Load a volume and select it.</source>
        <translation>Non c&apos;è un volume da leggere. Caricare un volume e selezionarlo.</translation>
    </message>
    <message>
        <source>This slice (2D)</source>
        <translation>Questa sezione (2D)</translation>
    </message>
    <message>
        <source>This volume is empty. Select another.</source>
        <translation>Questo volume è vuoto. Selezionarne un altro.</translation>
    </message>
    <message>
        <source>Volume (3D)</source>
        <translation>Volume (3D)</translation>
    </message>
    <message>
        <source>as in the {view} view</source>
        <translation>come nella vista {view}</translation>
    </message>
    <message>
        <source>{plane} slice {index} of 0 to {last}</source>
        <translation>sezione {plane} {index} da 0 a {last}</translation>
    </message>
    <message>
        <source>{plane} slices, 0 to {last}</source>
        <translation>sezioni {plane}, da 0 a {last}</translation>
    </message>
</context>
<context>
    <name>panels.labelling_box</name>
    <message>
        <source>All volumes and pictures</source>
        <translation>Tutti i volumi e le immagini</translation>
    </message>
    <message>
        <source>Assign this label to the selected images.</source>
        <translation>Assegna questa etichetta alle immagini selezionate.</translation>
    </message>
    <message>
        <source>Click the images to label.</source>
        <translation>Fare clic sulle immagini da etichettare.</translation>
    </message>
    <message>
        <source>Images {first} to {last} of {total}. Click images to select them. Double-click an image to open it.</source>
        <translation>Immagini da {first} a {last} di {total}. Fare clic sulle immagini per selezionarle. Fare doppio clic su un&apos;immagine per aprirla.</translation>
    </message>
    <message>
        <source>Show the images first.</source>
        <translation>Mostrare prima le immagini.</translation>
    </message>
    <message>
        <source>Show the images of the index, to label them by clicking.</source>
        <translation>Mostra le immagini dell&apos;indice, per etichettarle con un clic.</translation>
    </message>
    <message>
        <source>There are no images.</source>
        <translation>Non ci sono immagini.</translation>
    </message>
    <message>
        <source>Type the name of a set and a label.</source>
        <translation>Digitare il nome di un insieme e di un&apos;etichetta.</translation>
    </message>
    <message>
        <source>no label</source>
        <translation>nessuna etichetta</translation>
    </message>
</context>
<context>
    <name>panels.local_demo</name>
    <message>
        <source>The local demo could not be started; see the log for details.</source>
        <translation>La demo locale non ha potuto essere avviata; i dettagli sono nel registro.</translation>
    </message>
    <message>
        <source>The local demo has stopped ({reason}); start it again.</source>
        <translation>La demo locale si è fermata ({reason}); avviarla di nuovo.</translation>
    </message>
    <message>
        <source>The local demo has stopped; start it again.</source>
        <translation>La demo locale si è fermata; avviarla di nuovo.</translation>
    </message>
</context>
<context>
    <name>panels.many_box</name>
    <message>
        <source>All patients of the DICOM database</source>
        <translation>Tutti i pazienti del database DICOM</translation>
    </message>
    <message>
        <source>All {count} frames of {name}</source>
        <translation>Tutti i {count} fotogrammi di {name}</translation>
    </message>
    <message>
        <source>All {count} loaded volumes</source>
        <translation>Tutti i {count} volumi caricati</translation>
    </message>
    <message>
        <source>Image</source>
        <translation>Immagine</translation>
    </message>
    <message>
        <source>Run on several images, each with a segmentation of its own.</source>
        <translation>Esegue su più immagini, ciascuna con una propria segmentazione.</translation>
    </message>
    <message>
        <source>Several images are being processed. Wait until they are done, or cancel.</source>
        <translation>Sono in elaborazione più immagini. Attendere che finiscano, o interrompere.</translation>
    </message>
    <message>
        <source>State</source>
        <translation>Stato</translation>
    </message>
    <message>
        <source>This volume</source>
        <translation>Questo volume</translation>
    </message>
    <message>
        <source>cancelled</source>
        <translation>interrotto</translation>
    </message>
    <message>
        <source>failed</source>
        <translation>fallito</translation>
    </message>
    <message>
        <source>running</source>
        <translation>in corso</translation>
    </message>
    <message>
        <source>waiting</source>
        <translation>in attesa</translation>
    </message>
    <message>
        <source>{done} of {all} images are done.</source>
        <translation>{done} immagini su {all} completate.</translation>
    </message>
    <message>
        <source>{found} of {all} found</source>
        <translation>{found} trovate su {all}</translation>
    </message>
    <message>
        <source>{name}: {why}</source>
        <translation>{name}: {why}</translation>
    </message>
</context>
<context>
    <name>panels.message_row</name>
    <message>
        <source>Copy</source>
        <translation>Copia</translation>
    </message>
    <message>
        <source>Copy the message and the request identifier, for the endpoint&apos;s administrator.</source>
        <translation>Copia il messaggio e l&apos;identificatore della richiesta, per l&apos;amministratore dell&apos;endpoint.</translation>
    </message>
    <message>
        <source>For the endpoint&apos;s administrator: request {id}</source>
        <translation>Per l&apos;amministratore dell&apos;endpoint: richiesta {id}</translation>
    </message>
    <message>
        <source>Open endpoint settings</source>
        <translation>Apri le impostazioni degli endpoint</translation>
    </message>
    <message>
        <source>Request {id}</source>
        <translation>Richiesta {id}</translation>
    </message>
    <message>
        <source>Sign in</source>
        <translation>Accedi</translation>
    </message>
    <message>
        <source>Start local demo</source>
        <translation>Avvia demo locale</translation>
    </message>
</context>
<context>
    <name>panels.module_panel</name>
    <message>
        <source>Find similar</source>
        <translation>Trova simili</translation>
    </message>
    <message>
        <source>Find similar images, compare images with labels, find outliers.</source>
        <translation>Trova immagini simili, confronta immagini con etichette, trova valori anomali.</translation>
    </message>
    <message>
        <source>Segment</source>
        <translation>Segmenta</translation>
    </message>
    <message>
        <source>Type the names of structures to get them as segments.</source>
        <translation>Digitare i nomi delle strutture per ottenerle come segmenti.</translation>
    </message>
</context>
<context>
    <name>panels.options_box</name>
    <message>
        <source>8-bit input, sent as it is</source>
        <translation>Dati a 8 bit, inviati così come sono</translation>
    </message>
    <message>
        <source>Abdomen</source>
        <translation>Addome</translation>
    </message>
    <message>
        <source>Add a new segment</source>
        <translation>Aggiungi nuovo</translation>
    </message>
    <message>
        <source>All four rotations, majority vote</source>
        <translation>Tutte e quattro le rotazioni, a maggioranza</translation>
    </message>
    <message>
        <source>All together</source>
        <translation>Tutti insieme</translation>
    </message>
    <message>
        <source>Allow overlap</source>
        <translation>Consenti</translation>
    </message>
    <message>
        <source>As in training</source>
        <translation>Come nell&apos;addestramento</translation>
    </message>
    <message>
        <source>Automatic</source>
        <translation>Automatico</translation>
    </message>
    <message>
        <source>Bone</source>
        <translation>Osso</translation>
    </message>
    <message>
        <source>Brain</source>
        <translation>Encefalo</translation>
    </message>
    <message>
        <source>Colon</source>
        <translation>Colon</translation>
    </message>
    <message>
        <source>Custom range</source>
        <translation>Intervallo personalizzato</translation>
    </message>
    <message>
        <source>Keep existing segments</source>
        <translation>Mantieni esistenti</translation>
    </message>
    <message>
        <source>Liver</source>
        <translation>Fegato</translation>
    </message>
    <message>
        <source>Lung</source>
        <translation>Polmone</translation>
    </message>
    <message>
        <source>Lung, 3D model</source>
        <translation>Polmone, modello 3D</translation>
    </message>
    <message>
        <source>Never</source>
        <translation>Mai</translation>
    </message>
    <message>
        <source>None (raw values)</source>
        <translation>Nessuna (valori originali)</translation>
    </message>
    <message>
        <source>One</source>
        <translation>Uno</translation>
    </message>
    <message>
        <source>One per prompt</source>
        <translation>Uno per prompt</translation>
    </message>
    <message>
        <source>Overwrite existing segments</source>
        <translation>Sovrascrivi</translation>
    </message>
    <message>
        <source>Pancreas</source>
        <translation>Pancreas</translation>
    </message>
    <message>
        <source>Pelvis</source>
        <translation>Pelvi</translation>
    </message>
    <message>
        <source>Percentiles 0.5 to 99.5</source>
        <translation>Percentili da 0,5 a 99,5</translation>
    </message>
    <message>
        <source>Radiological</source>
        <translation>Radiologico</translation>
    </message>
    <message>
        <source>Range as given</source>
        <translation>Intervallo indicato</translation>
    </message>
    <message>
        <source>Raw values</source>
        <translation>Valori grezzi</translation>
    </message>
    <message>
        <source>Replace the segment</source>
        <translation>Sostituisci</translation>
    </message>
    <message>
        <source>Separate structures</source>
        <translation>Strutture separate</translation>
    </message>
    <message>
        <source>Separate, from {size} ml</source>
        <translation>Separate, da {size} ml</translation>
    </message>
    <message>
        <source>Soft tissue</source>
        <translation>Tessuti molli</translation>
    </message>
    <message>
        <source>The slice is rotated to the orientation of the model&apos;s training images for this target.</source>
        <translation>La sezione viene ruotata nell&apos;orientamento delle immagini di addestramento del modello per questa struttura.</translation>
    </message>
    <message>
        <source>{site} ({low} to {high})</source>
        <translation>{site} (da {low} a {high})</translation>
    </message>
    <message>
        <source>{window}, because the engine takes Hounsfield units</source>
        <translation>{window}, perché il motore accetta unità Hounsfield</translation>
    </message>
    <message>
        <source>{window}: {low} to {high}</source>
        <translation>{window}: da {low} a {high}</translation>
    </message>
    <message>
        <source>{window}; {size} MB before compression.</source>
        <translation>{window}; {size} MB prima della compressione.</translation>
    </message>
</context>
<context>
    <name>panels.outliers_box</name>
    <message>
        <source>#</source>
        <translation>#</translation>
    </message>
    <message>
        <source>All studies of the index</source>
        <translation>Tutti gli studi dell&apos;indice</translation>
    </message>
    <message>
        <source>Distance</source>
        <translation>Distanza</translation>
    </message>
    <message>
        <source>Distance {distance}</source>
        <translation>Distanza {distance}</translation>
    </message>
    <message>
        <source>Double-click to open that image at that slice.</source>
        <translation>Doppio clic per aprire quell&apos;immagine a quella sezione.</translation>
    </message>
    <message>
        <source>Every image is compared with all others.</source>
        <translation>Ogni immagine viene confrontata con tutte le altre.</translation>
    </message>
    <message>
        <source>Gray points are the reference images.</source>
        <translation>I punti grigi sono le immagini di riferimento.</translation>
    </message>
    <message>
        <source>Image</source>
        <translation>Immagine</translation>
    </message>
    <message>
        <source>More unusual than {percent} % of the reference images.</source>
        <translation>Più insolita del {percent} % delle immagini di riferimento.</translation>
    </message>
    <message>
        <source>Rank the images of the index by how unusual they are. Nothing is sent.</source>
        <translation>Ordina le immagini dell&apos;indice secondo quanto sono insolite. Non viene inviato nulla.</translation>
    </message>
    <message>
        <source>Select the reference studies.</source>
        <translation>Selezionare gli studi di riferimento.</translation>
    </message>
    <message>
        <source>Similar images lie close together.</source>
        <translation>Le immagini simili sono vicine tra loro.</translation>
    </message>
    <message>
        <source>Slices</source>
        <translation>Sezioni</translation>
    </message>
    <message>
        <source>Studies</source>
        <translation>Studi</translation>
    </message>
    <message>
        <source>The index does not store the location of this image.</source>
        <translation>L&apos;indice non memorizza la posizione di questa immagine.</translation>
    </message>
    <message>
        <source>The studies selected below</source>
        <translation>Gli studi selezionati sotto</translation>
    </message>
    <message>
        <source>{count} more images are less unusual.</source>
        <translation>Altre {count} immagini sono meno insolite.</translation>
    </message>
    <message>
        <source>{count} slices</source>
        <translation>{count} sezioni</translation>
    </message>
    <message>
        <source>{name} (1 image)</source>
        <translation>{name} (1 immagine)</translation>
    </message>
    <message>
        <source>{name} ({images} images)</source>
        <translation>{name} ({images} immagini)</translation>
    </message>
    <message>
        <source>{place}, {name}</source>
        <translation>{place}, {name}</translation>
    </message>
</context>
<context>
    <name>panels.pixmaps</name>
    <message>
        <source>No picture</source>
        <translation>Nessuna immagine</translation>
    </message>
</context>
<context>
    <name>panels.presets_menu</name>
    <message>
        <source>Delete preset</source>
        <translation>Elimina elenco</translation>
    </message>
    <message>
        <source>Delete {names}?</source>
        <translation>Eliminare {names}?</translation>
    </message>
    <message>
        <source>Export presets</source>
        <translation>Esporta elenchi</translation>
    </message>
    <message>
        <source>Export presets…</source>
        <translation>Esporta elenchi…</translation>
    </message>
    <message>
        <source>Import presets</source>
        <translation>Importa elenchi</translation>
    </message>
    <message>
        <source>Import presets…</source>
        <translation>Importa elenchi…</translation>
    </message>
    <message>
        <source>Name:</source>
        <translation>Nome:</translation>
    </message>
    <message>
        <source>Presets (*.json)</source>
        <translation>Elenchi (*.json)</translation>
    </message>
    <message>
        <source>Replace {names}?</source>
        <translation>Sostituire {names}?</translation>
    </message>
    <message>
        <source>Save as preset</source>
        <translation>Salva come elenco</translation>
    </message>
    <message>
        <source>Save as preset…</source>
        <translation>Salva come elenco…</translation>
    </message>
    <message>
        <source>Saved lists of targets.</source>
        <translation>Elenchi salvati di strutture.</translation>
    </message>
    <message>
        <source>Your presets cannot be read…</source>
        <translation>Gli elenchi propri non possono essere letti…</translation>
    </message>
    <message>
        <source>{name} ({count})</source>
        <translation>{name} ({count})</translation>
    </message>
</context>
<context>
    <name>panels.privacy_box</name>
    <message>
        <source>Allowed hosts:</source>
        <translation>Host consentiti:</translation>
    </message>
    <message>
        <source>Ask again before anything is sent to this host.</source>
        <translation>Chiede di nuovo prima di inviare qualcosa a questo host.</translation>
    </message>
    <message>
        <source>No host has been allowed yet.</source>
        <translation>Nessun host è stato ancora consentito.</translation>
    </message>
    <message>
        <source>Nothing has been recorded yet.</source>
        <translation>Non è stato ancora registrato nulla.</translation>
    </message>
    <message>
        <source>Select a host in the list.</source>
        <translation>Selezionare un host nell&apos;elenco.</translation>
    </message>
    <message>
        <source>Send image data?</source>
        <translation>Inviare i dati dell&apos;immagine?</translation>
    </message>
    <message>
        <source>Send your images to {host}?

{whatLeaves}</source>
        <translation>Inviare le immagini a {host}?

{whatLeaves}</translation>
    </message>
    <message>
        <source>The consent could not be withdrawn ({reason}); it is still in effect.</source>
        <translation>Il consenso non ha potuto essere revocato ({reason}); è ancora valido.</translation>
    </message>
    <message>
        <source>This setting could not be saved ({reason}).</source>
        <translation>Questa impostazione non ha potuto essere salvata ({reason}).</translation>
    </message>
    <message>
        <source>You are asked once for each host. OK sends the images, Cancel sends nothing.</source>
        <translation>La domanda viene posta una volta per host. OK invia le immagini, Annulla non invia nulla.</translation>
    </message>
    <message>
        <source>You will be asked again before anything is sent to {host}.</source>
        <translation>Verrà chiesto di nuovo prima di inviare qualcosa a {host}.</translation>
    </message>
    <message>
        <source>Your key or sign-in for this endpoint is sent there too.</source>
        <translation>Vi viene inviata anche la chiave o l&apos;accesso per questo endpoint.</translation>
    </message>
</context>
<context>
    <name>panels.profile_form</name>
    <message>
        <source>Any</source>
        <translation>Qualsiasi</translation>
    </message>
    <message>
        <source>Automatic</source>
        <translation>Automatico</translation>
    </message>
    <message>
        <source>Azure CLI (az login)</source>
        <translation>Azure CLI (az login)</translation>
    </message>
    <message>
        <source>Azure ML</source>
        <translation>Azure ML</translation>
    </message>
    <message>
        <source>Azure ML token</source>
        <translation>Token di Azure ML</translation>
    </message>
    <message>
        <source>Browser</source>
        <translation>Browser</translation>
    </message>
    <message>
        <source>Certificate authorities</source>
        <translation>Autorità di certificazione</translation>
    </message>
    <message>
        <source>Certificates (*.pem *.crt *.cer)</source>
        <translation>Certificati (*.pem *.crt *.cer)</translation>
    </message>
    <message>
        <source>Device code</source>
        <translation>Codice dispositivo</translation>
    </message>
    <message>
        <source>Environment variables</source>
        <translation>Variabili d&apos;ambiente</translation>
    </message>
    <message>
        <source>Key</source>
        <translation>Chiave</translation>
    </message>
    <message>
        <source>MLflow</source>
        <translation>MLflow</translation>
    </message>
    <message>
        <source>Managed identity of this Azure machine</source>
        <translation>Identità gestita di questa macchina Azure</translation>
    </message>
    <message>
        <source>MedImageInsight (search)</source>
        <translation>MedImageInsight (ricerca)</translation>
    </message>
    <message>
        <source>MedImageParse (slices)</source>
        <translation>MedImageParse (sezioni)</translation>
    </message>
    <message>
        <source>MedImageParse 3D (volumes)</source>
        <translation>MedImageParse 3D (volumi)</translation>
    </message>
    <message>
        <source>Microsoft account (Entra)</source>
        <translation>Account Microsoft (Entra)</translation>
    </message>
    <message>
        <source>None</source>
        <translation>Nessuno</translation>
    </message>
    <message>
        <source>The key is kept in memory until Slicer is closed. It is never saved with the scene or in a file.</source>
        <translation>La chiave resta in memoria fino alla chiusura di Slicer. Non viene mai salvata con la scena o in un file.</translation>
    </message>
    <message>
        <source>entered; kept until Slicer is closed</source>
        <translation>inserita; conservata fino alla chiusura di Slicer</translation>
    </message>
    <message>
        <source>in this computer&apos;s keyring</source>
        <translation>nel portachiavi di questo computer</translation>
    </message>
    <message>
        <source>paste the endpoint&apos;s key</source>
        <translation>incollare la chiave dell&apos;endpoint</translation>
    </message>
</context>
<context>
    <name>panels.prompt_box</name>
    <message>
        <source>Prompts of earlier runs.</source>
        <translation>Prompt delle esecuzioni precedenti.</translation>
    </message>
    <message>
        <source>There has been no run yet.</source>
        <translation>Non c&apos;è ancora stata alcuna esecuzione.</translation>
    </message>
</context>
<context>
    <name>panels.prompt_hints</name>
    <message>
        <source> or </source>
        <translation> o </translation>
    </message>
    <message>
        <source>MRI</source>
        <translation>RM</translation>
    </message>
    <message>
        <source>OCT</source>
        <translation>OCT</translation>
    </message>
    <message>
        <source>PET</source>
        <translation>PET</translation>
    </message>
    <message>
        <source>Send nested targets separately</source>
        <translation>Invia separatamente le strutture annidate</translation>
    </message>
    <message>
        <source>Separate these targets</source>
        <translation>Separa queste strutture</translation>
    </message>
    <message>
        <source>Some of these targets overlap. In one request, one can suppress another.</source>
        <translation>Alcune di queste strutture si sovrappongono. In una sola richiesta, una può escluderne un&apos;altra.</translation>
    </message>
    <message>
        <source>There are {count} more hints.</source>
        <translation>Ci sono altri {count} suggerimenti.</translation>
    </message>
    <message>
        <source>Use {name}</source>
        <translation>Usa {name}</translation>
    </message>
    <message>
        <source>X-ray</source>
        <translation>Radiografia</translation>
    </message>
    <message>
        <source>dermoscopy</source>
        <translation>dermatoscopia</translation>
    </message>
    <message>
        <source>endoscopy</source>
        <translation>endoscopia</translation>
    </message>
    <message>
        <source>fundus photography</source>
        <translation>fotografia del fondo oculare</translation>
    </message>
    <message>
        <source>microscopy</source>
        <translation>microscopia</translation>
    </message>
    <message>
        <source>pathology</source>
        <translation>patologia</translation>
    </message>
    <message>
        <source>ultrasound</source>
        <translation>ecografia</translation>
    </message>
    <message>
        <source>“{prompt}” contains a comma, which does not separate targets. Type one target per line.</source>
        <translation>“{prompt}” contiene una virgola, che non separa le strutture. Digitare una struttura per riga.</translation>
    </message>
    <message>
        <source>“{prompt}” contains a semicolon, which does not separate targets. Type one target per line.</source>
        <translation>“{prompt}” contiene un punto e virgola, che non separa le strutture. Digitare una struttura per riga.</translation>
    </message>
    <message>
        <source>“{prompt}” is not a known target. Did you mean {names}? It is sent as typed.</source>
        <translation>“{prompt}” non è una struttura nota. Si intendeva {names}? Viene inviato come digitato.</translation>
    </message>
    <message>
        <source>“{prompt}” is not a known target. It is sent as typed.</source>
        <translation>“{prompt}” non è una struttura nota. Viene inviato come digitato.</translation>
    </message>
    <message>
        <source>“{prompt}” is too long for the model. Use fewer words.</source>
        <translation>“{prompt}” è troppo lungo per il modello. Usare meno parole.</translation>
    </message>
    <message>
        <source>“{prompt}” names {said}, but this image is {image}.</source>
        <translation>“{prompt}” indica {said}, ma questa immagine è {image}.</translation>
    </message>
    <message>
        <source>“{target}” is recommended for {modalities}, not for {image}. Check the result carefully.</source>
        <translation>“{target}” è consigliato per {modalities}, non per {image}. Verificare con attenzione il risultato.</translation>
    </message>
</context>
<context>
    <name>panels.query_box</name>
    <message>
        <source>Choose a region of interest, or a segment.</source>
        <translation>Scegliere una regione di interesse, o un segmento.</translation>
    </message>
    <message>
        <source>Find the most similar images in the index. (Ctrl+Enter)</source>
        <translation>Trova le immagini più simili nell&apos;indice. (Ctrl+Invio)</translation>
    </message>
    <message>
        <source>Most similar to {asked}:</source>
        <translation>Più simili per {asked}:</translation>
    </message>
    <message>
        <source>Nothing was found for {asked}.</source>
        <translation>Non è stato trovato nulla per {asked}.</translation>
    </message>
    <message>
        <source>This region</source>
        <translation>Questa regione</translation>
    </message>
    <message>
        <source>This slice</source>
        <translation>Questa sezione</translation>
    </message>
    <message>
        <source>This text</source>
        <translation>Questo testo</translation>
    </message>
    <message>
        <source>Type what to search for.</source>
        <translation>Digitare che cosa cercare.</translation>
    </message>
    <message>
        <source>a region of {slice}</source>
        <translation>una regione di {slice}</translation>
    </message>
    <message>
        <source>axial slice {index} of {volume}</source>
        <translation>la sezione assiale {index} di {volume}</translation>
    </message>
    <message>
        <source>coronal slice {index} of {volume}</source>
        <translation>la sezione coronale {index} di {volume}</translation>
    </message>
    <message>
        <source>sagittal slice {index} of {volume}</source>
        <translation>la sezione sagittale {index} di {volume}</translation>
    </message>
    <message>
        <source>the text “{text}”</source>
        <translation>il testo “{text}”</translation>
    </message>
</context>
<context>
    <name>panels.results_box</name>
    <message>
        <source>Agreement</source>
        <translation>Accordo</translation>
    </message>
    <message>
        <source>Click to go to {name}.</source>
        <translation>Fare clic per andare a {name}.</translation>
    </message>
    <message>
        <source>Copy table</source>
        <translation>Copia tabella</translation>
    </message>
    <message>
        <source>Correct the segments with the Segment Editor&apos;s own tools.</source>
        <translation>Corregge i segmenti con gli strumenti del Segment Editor.</translation>
    </message>
    <message>
        <source>Delete the selected segments.</source>
        <translation>Elimina i segmenti selezionati.</translation>
    </message>
    <message>
        <source>Delete {names}?</source>
        <translation>Eliminare {names}?</translation>
    </message>
    <message>
        <source>Endpoint</source>
        <translation>Endpoint</translation>
    </message>
    <message>
        <source>Made by: {engines}.</source>
        <translation>Prodotto da: {engines}.</translation>
    </message>
    <message>
        <source>Prompt</source>
        <translation>Prompt</translation>
    </message>
    <message>
        <source>Prompt: {prompt}
Model: {model}
Endpoint: {endpoint}
Time: {time}</source>
        <translation>Prompt: {prompt}
Modello: {model}
Endpoint: {endpoint}
Ora: {time}</translation>
    </message>
    <message>
        <source>Redo the run that was undone.</source>
        <translation>Ripete l&apos;esecuzione che è stata annullata.</translation>
    </message>
    <message>
        <source>Result</source>
        <translation>Risultato</translation>
    </message>
    <message>
        <source>Results</source>
        <translation>Risultati</translation>
    </message>
    <message>
        <source>Results of {segmentation}</source>
        <translation>Risultati di {segmentation}</translation>
    </message>
    <message>
        <source>Run again, one request each</source>
        <translation>Riesegui, una richiesta ciascuna</translation>
    </message>
    <message>
        <source>Runs of this session. Choose one to run it again.</source>
        <translation>Esecuzioni di questa sessione. Sceglierne una per eseguirla di nuovo.</translation>
    </message>
    <message>
        <source>Select a segment in the table.</source>
        <translation>Selezionare un segmento nella tabella.</translation>
    </message>
    <message>
        <source>Show as table</source>
        <translation>Tabella</translation>
    </message>
    <message>
        <source>Structure</source>
        <translation>Struttura</translation>
    </message>
    <message>
        <source>The last run was undone.</source>
        <translation>L&apos;ultima esecuzione è stata annullata.</translation>
    </message>
    <message>
        <source>The model did not find {name} in this image; no segment was added.</source>
        <translation>Il modello non ha trovato {name} in questa immagine; non è stato aggiunto alcun segmento.</translation>
    </message>
    <message>
        <source>The run cannot be redone, because segments have been edited since.</source>
        <translation>L&apos;esecuzione non può essere ripetuta, perché nel frattempo i segmenti sono stati modificati.</translation>
    </message>
    <message>
        <source>The run stopped before the result for {name} was received.</source>
        <translation>L&apos;esecuzione si è fermata prima di ricevere il risultato per {name}.</translation>
    </message>
    <message>
        <source>The run was redone.</source>
        <translation>L&apos;esecuzione è stata ripetuta.</translation>
    </message>
    <message>
        <source>The segment has been edited since.</source>
        <translation>Nel frattempo il segmento è stato modificato.</translation>
    </message>
    <message>
        <source>The table was copied to the clipboard.</source>
        <translation>La tabella è stata copiata negli appunti.</translation>
    </message>
    <message>
        <source>There has been no run yet.</source>
        <translation>Non c&apos;è ancora stata alcuna esecuzione.</translation>
    </message>
    <message>
        <source>There is no run to redo.</source>
        <translation>Non c&apos;è un&apos;esecuzione da ripetere.</translation>
    </message>
    <message>
        <source>There is no run to undo.</source>
        <translation>Non c&apos;è un&apos;esecuzione da annullare.</translation>
    </message>
    <message>
        <source>There is no segment yet.</source>
        <translation>Non c&apos;è ancora alcun segmento.</translation>
    </message>
    <message>
        <source>This segment was not made by MedImageParse.</source>
        <translation>Questo segmento non è stato prodotto da MedImageParse.</translation>
    </message>
    <message>
        <source>Time</source>
        <translation>Ora</translation>
    </message>
    <message>
        <source>Undo the last run: {prompts}.</source>
        <translation>Annulla l&apos;ultima esecuzione: {prompts}.</translation>
    </message>
    <message>
        <source>Volume</source>
        <translation>Volume</translation>
    </message>
    <message>
        <source>Volume (ml)</source>
        <translation>Volume (ml)</translation>
    </message>
    <message>
        <source>Voxels</source>
        <translation>Voxel</translation>
    </message>
    <message>
        <source>an earlier import</source>
        <translation>un&apos;importazione precedente</translation>
    </message>
    <message>
        <source>covered</source>
        <translation>coperto</translation>
    </message>
    <message>
        <source>found</source>
        <translation>trovato</translation>
    </message>
    <message>
        <source>no result</source>
        <translation>nessun risultato</translation>
    </message>
    <message>
        <source>not found</source>
        <translation>non trovato</translation>
    </message>
    <message>
        <source>too small</source>
        <translation>troppo piccolo</translation>
    </message>
    <message>
        <source>{name} ({host})</source>
        <translation>{name} ({host})</translation>
    </message>
    <message>
        <source>{name} was found, but each of its separate structures is smaller than the chosen minimum size.</source>
        <translation>{name} è stato trovato, ma ciascuna delle sue strutture separate è più piccola della dimensione minima scelta.</translation>
    </message>
    <message>
        <source>{name} was found, but other segments already cover all of it, and these were kept.</source>
        <translation>{name} è stato trovato, ma altri segmenti lo coprono già del tutto, e questi sono stati mantenuti.</translation>
    </message>
    <message>
        <source>{percent} %</source>
        <translation>{percent} %</translation>
    </message>
    <message>
        <source>{run} (Segment Editor)</source>
        <translation>{run} (Segment Editor)</translation>
    </message>
    <message>
        <source>{time}  {prompts}: {found} of {all} found, {endpoint}</source>
        <translation>{time}  {prompts}: {found} di {all} trovati, {endpoint}</translation>
    </message>
    <message>
        <source>{volume} ml</source>
        <translation>{volume} ml</translation>
    </message>
</context>
<context>
    <name>panels.run_box</name>
    <message>
        <source>Cancelled. Nothing was added.</source>
        <translation>Interrotto. Non è stato aggiunto nulla.</translation>
    </message>
    <message>
        <source>Find these structures. (Ctrl+Enter)</source>
        <translation>Trova queste strutture. (Ctrl+Invio)</translation>
    </message>
    <message>
        <source>Found {found} of {all} in {seconds} s.</source>
        <translation>Trovati {found} di {all} in {seconds} s.</translation>
    </message>
    <message>
        <source>Only part of the run was completed, and is kept: {why}</source>
        <translation>Solo una parte dell&apos;esecuzione è stata completata, ed è conservata: {why}</translation>
    </message>
    <message>
        <source>Run</source>
        <translation>Esegui</translation>
    </message>
    <message>
        <source>Run next</source>
        <translation>Esegui dopo</translation>
    </message>
    <message>
        <source>Run this after the current run. (Ctrl+Enter)</source>
        <translation>Esegue dopo l&apos;esecuzione in corso. (Ctrl+Invio)</translation>
    </message>
    <message>
        <source>{stage} ({count} more waiting)</source>
        <translation>{stage} (altri {count} in attesa)</translation>
    </message>
</context>
<context>
    <name>panels.save_menu</name>
    <message>
        <source>DICOM (*.dcm)</source>
        <translation>DICOM (*.dcm)</translation>
    </message>
    <message>
        <source>DICOM segmentation…</source>
        <translation>Segmentazione DICOM…</translation>
    </message>
    <message>
        <source>Folder for the labelmaps</source>
        <translation>Cartella per le mappe di etichette</translation>
    </message>
    <message>
        <source>Labelmaps (*.nii.gz *.nrrd)</source>
        <translation>Mappe di etichette (*.nii.gz *.nrrd)</translation>
    </message>
    <message>
        <source>Labelmap…</source>
        <translation>Mappa di etichette…</translation>
    </message>
    <message>
        <source>One labelmap per segment…</source>
        <translation>Una mappa di etichette per segmento…</translation>
    </message>
    <message>
        <source>RT structure set…</source>
        <translation>RT structure set…</translation>
    </message>
    <message>
        <source>Save results</source>
        <translation>Salva risultati</translation>
    </message>
    <message>
        <source>Save the segments as they are now, on the volume&apos;s grid.</source>
        <translation>Salva i segmenti come sono ora, sulla griglia del volume.</translation>
    </message>
    <message>
        <source>Saved {count} files.</source>
        <translation>Salvati {count} file.</translation>
    </message>
    <message>
        <source>Saved {path}.</source>
        <translation>Salvato {path}.</translation>
    </message>
    <message>
        <source>Show statistics as table</source>
        <translation>Mostra statistiche come tabella</translation>
    </message>
    <message>
        <source>Statistics…</source>
        <translation>Statistiche…</translation>
    </message>
    <message>
        <source>Tables (*.csv *.json)</source>
        <translation>Tabelle (*.csv *.json)</translation>
    </message>
    <message>
        <source>There is no segment yet.</source>
        <translation>Non c&apos;è ancora alcun segmento.</translation>
    </message>
</context>
<context>
    <name>panels.search_context</name>
    <message>
        <source>Cancelled.</source>
        <translation>Interrotto.</translation>
    </message>
    <message>
        <source>Nothing was sent.</source>
        <translation>Non è stato inviato nulla.</translation>
    </message>
    <message>
        <source>Select a volume.</source>
        <translation>Selezionare un volume.</translation>
    </message>
    <message>
        <source>The index is empty. Press Index first.</source>
        <translation>L&apos;indice è vuoto. Premere prima Indicizza.</translation>
    </message>
    <message>
        <source>This volume is empty. Select another.</source>
        <translation>Questo volume è vuoto. Selezionarne un altro.</translation>
    </message>
    <message>
        <source>series {series}</source>
        <translation>serie {series}</translation>
    </message>
</context>
<context>
    <name>panels.segment_columns</name>
    <message>
        <source>%</source>
        <translation>%</translation>
    </message>
    <message>
        <source>Agreement of the votes in percent</source>
        <translation>Accordo dei voti in percentuale</translation>
    </message>
    <message>
        <source>Found</source>
        <translation>Trovato</translation>
    </message>
    <message>
        <source>Volume of the segment in milliliters, as it is now</source>
        <translation>Volume attuale del segmento in millilitri</translation>
    </message>
    <message>
        <source>ml</source>
        <translation>ml</translation>
    </message>
</context>
<context>
    <name>panels.segment_editor</name>
    <message>
        <source>The Segment Editor has no effect Text prompt. Install the extension again for this version of Slicer.</source>
        <translation>Il Segment Editor non ha l&apos;effetto Prompt di testo. Installare di nuovo l&apos;estensione per questa versione di Slicer.</translation>
    </message>
    <message>
        <source>The segment of this run was deleted. Select another one in the Segment Editor, and run there.</source>
        <translation>Il segmento di questa esecuzione è stato eliminato. Selezionarne un altro nel Segment Editor, ed eseguire lì.</translation>
    </message>
    <message>
        <source>The volume or the segmentation of this run is no longer in the scene.</source>
        <translation>Il volume o la segmentazione di questa esecuzione non è più nella scena.</translation>
    </message>
</context>
<context>
    <name>panels.segment_panel</name>
    <message>
        <source>A run on several images uses whole images. Choose Volume (3D) or All slices (2D).</source>
        <translation>Un&apos;esecuzione su più immagini usa immagini intere. Scegliere Volume (3D) o Tutte le sezioni (2D).</translation>
    </message>
    <message>
        <source>Creating the sample…</source>
        <translation>Creazione dell&apos;esempio…</translation>
    </message>
    <message>
        <source>Load sample</source>
        <translation>Carica esempio</translation>
    </message>
    <message>
        <source>Nothing was sent.</source>
        <translation>Non è stato inviato nulla.</translation>
    </message>
    <message>
        <source>Open endpoint settings</source>
        <translation>Apri le impostazioni degli endpoint</translation>
    </message>
    <message>
        <source>Start local demo</source>
        <translation>Avvia demo locale</translation>
    </message>
    <message>
        <source>The scene was closed, so the run was cancelled.</source>
        <translation>La scena è stata chiusa, quindi l&apos;esecuzione è stata interrotta.</translation>
    </message>
    <message>
        <source>This run is already in progress. Change a setting to queue another.</source>
        <translation>Questa esecuzione è già in corso. Modificare un&apos;impostazione per metterne in coda un&apos;altra.</translation>
    </message>
</context>
<context>
    <name>panels.sentences</name>
    <message>
        <source>Adding segments</source>
        <translation>Aggiunta dei segmenti</translation>
    </message>
    <message>
        <source>Model working {minutes}:{seconds}</source>
        <translation>Modello al lavoro {minutes}:{seconds}</translation>
    </message>
    <message>
        <source>Preparing</source>
        <translation>Preparazione</translation>
    </message>
    <message>
        <source>Receiving</source>
        <translation>Ricezione</translation>
    </message>
    <message>
        <source>Receiving {done} MB</source>
        <translation>Ricezione di {done} MB</translation>
    </message>
    <message>
        <source>Receiving {done} of {total} MB</source>
        <translation>Ricezione di {done} su {total} MB</translation>
    </message>
    <message>
        <source>The endpoint is busy, trying again in {seconds} s</source>
        <translation>L&apos;endpoint è occupato, nuovo tentativo tra {seconds} s</translation>
    </message>
    <message>
        <source>To sign in, open {link} and enter the code &lt;b&gt;{code}&lt;/b&gt; before {time}.</source>
        <translation>Per accedere, aprire {link} e inserire il codice &lt;b&gt;{code}&lt;/b&gt; entro le {time}.</translation>
    </message>
    <message>
        <source>Uploading</source>
        <translation>Invio</translation>
    </message>
    <message>
        <source>Uploading {done} of {total} MB</source>
        <translation>Invio di {done} su {total} MB</translation>
    </message>
    <message>
        <source>Waiting</source>
        <translation>Attesa</translation>
    </message>
    <message>
        <source>add the endpoint again in Settings</source>
        <translation>aggiungere di nuovo l&apos;endpoint in Impostazioni</translation>
    </message>
    <message>
        <source>allow an unencrypted connection in Settings, under More</source>
        <translation>consentire una connessione non cifrata in Impostazioni, sotto Altro</translation>
    </message>
    <message>
        <source>ask it on the command line, with classify</source>
        <translation>interrogarlo dalla riga di comando, con classify</translation>
    </message>
    <message>
        <source>choose another index file in Index options, or recover what is readable with medimageparse index export</source>
        <translation>scegliere un altro file di indice in Opzioni dell&apos;indice, o recuperare ciò che è leggibile con medimageparse index export</translation>
    </message>
    <message>
        <source>choose new names for them</source>
        <translation>scegliere altri nomi</translation>
    </message>
    <message>
        <source>choose one prompt per request in Options</source>
        <translation>scegliere un prompt per richiesta in Opzioni</translation>
    </message>
    <message>
        <source>enter another tenant in Settings</source>
        <translation>inserire un altro tenant in Impostazioni</translation>
    </message>
    <message>
        <source>enter one deployment in Settings</source>
        <translation>inserire una distribuzione in Impostazioni</translation>
    </message>
    <message>
        <source>enter the tenant in Settings</source>
        <translation>inserire il tenant in Impostazioni</translation>
    </message>
    <message>
        <source>increase the response timeout in Settings</source>
        <translation>aumentare il tempo massimo di risposta in Impostazioni</translation>
    </message>
    <message>
        <source>increase the response timeout in Settings and in the deployment</source>
        <translation>aumentare il tempo massimo di risposta in Impostazioni e nella distribuzione</translation>
    </message>
    <message>
        <source>install it from Slicer&apos;s Python console with slicer.util.pip_install</source>
        <translation>installarlo dalla console Python di Slicer con slicer.util.pip_install</translation>
    </message>
    <message>
        <source>move the mouse over a slice view of that plane, and run again</source>
        <translation>spostare il mouse su una vista di sezione di quel piano ed eseguire di nuovo</translation>
    </message>
    <message>
        <source>press Run again and allow it, if you may</source>
        <translation>premere di nuovo Esegui e consentirlo, se si è autorizzati</translation>
    </message>
    <message>
        <source>select its PEM file in Settings, under More, Certificates</source>
        <translation>selezionare il suo file PEM in Impostazioni, in Altro, Certificati</translation>
    </message>
    <message>
        <source>select its certificates in Settings, under More</source>
        <translation>selezionare i suoi certificati in Impostazioni, in Altro</translation>
    </message>
    <message>
        <source>start the server there (the local demo with Start local demo)</source>
        <translation>avviare lì il server (la demo locale con Avvia demo locale)</translation>
    </message>
    <message>
        <source>turn off Skip empty slices in Index options</source>
        <translation>disattivare Salta le sezioni vuote in Opzioni dell&apos;indice</translation>
    </message>
    <message>
        <source>type it as the key instead</source>
        <translation>digitarla invece come chiave</translation>
    </message>
    <message>
        <source>type it in Settings</source>
        <translation>digitarla in Impostazioni</translation>
    </message>
    <message>
        <source>type the key in Settings</source>
        <translation>digitare la chiave in Impostazioni</translation>
    </message>
    <message>
        <source>type the key in Settings, or choose another sign-in there</source>
        <translation>digitare la chiave in Impostazioni, o scegliervi un altro accesso</translation>
    </message>
    <message>
        <source>{finished} of {all} done, {stage}</source>
        <translation>{finished} di {all} completati, {stage}</translation>
    </message>
</context>
<context>
    <name>panels.settings_panel</name>
    <message>
        <source>Endpoint settings</source>
        <translation>Impostazioni degli endpoint</translation>
    </message>
    <message>
        <source>Endpoints (*.json)</source>
        <translation>Endpoint (*.json)</translation>
    </message>
    <message>
        <source>Export endpoints</source>
        <translation>Esporta endpoint</translation>
    </message>
    <message>
        <source>Exported {names} to {file}. The file does not contain a key.</source>
        <translation>Esportato {names} in {file}. Il file non contiene una chiave.</translation>
    </message>
    <message>
        <source>Fill in the name and the URL, then press Save.</source>
        <translation>Compilare il nome e l&apos;URL, poi premere Salva.</translation>
    </message>
    <message>
        <source>Import endpoints</source>
        <translation>Importa endpoint</translation>
    </message>
    <message>
        <source>Save this endpoint.</source>
        <translation>Salva questo endpoint.</translation>
    </message>
    <message>
        <source>Saved. Test the connection next.</source>
        <translation>Salvato. Ora provare la connessione.</translation>
    </message>
    <message>
        <source>Show More</source>
        <translation>Mostra Altro</translation>
    </message>
    <message>
        <source>The local demo needs no settings.</source>
        <translation>La demo locale non richiede impostazioni.</translation>
    </message>
    <message>
        <source>There is no endpoint in this file.</source>
        <translation>In questo file non c&apos;è alcun endpoint.</translation>
    </message>
    <message>
        <source>You are signed out, and typed keys were removed.</source>
        <translation>La disconnessione è avvenuta, e le chiavi digitate sono state rimosse.</translation>
    </message>
    <message>
        <source>{name} and its key were removed.</source>
        <translation>{name} e la sua chiave sono stati rimossi.</translation>
    </message>
</context>
<context>
    <name>panels.similar_panel</name>
    <message>
        <source>Axial</source>
        <translation>Assiale</translation>
    </message>
    <message>
        <source>Coronal</source>
        <translation>Coronale</translation>
    </message>
    <message>
        <source>Sagittal</source>
        <translation>Sagittale</translation>
    </message>
    <message>
        <source>This slice: {plane} {index} of 0 to {last}</source>
        <translation>Questa sezione: {plane} {index} da 0 a {last}</translation>
    </message>
    <message>
        <source>This slice: {plane} {index} of 0 to {last}, as in the {view} view</source>
        <translation>Questa sezione: {plane} {index} da 0 a {last}, come nella vista {view}</translation>
    </message>
</context>
<context>
    <name>panels.tab</name>
    <message>
        <source>The panel cannot be shown, because this Slicer lacks the widgets {widgets}; install the extension again for this version of Slicer, or Slicer itself.</source>
        <translation>Il pannello non può essere mostrato, perché a questo Slicer mancano i widget {widgets}; installare di nuovo l&apos;estensione per questa versione di Slicer, o Slicer stesso.</translation>
    </message>
</context>
<context>
    <name>panels.task_box</name>
    <message>
        <source>Finishing</source>
        <translation>Conclusione</translation>
    </message>
    <message>
        <source>Reading the labels</source>
        <translation>Lettura delle etichette</translation>
    </message>
    <message>
        <source>Reading, {time}</source>
        <translation>Lettura, {time}</translation>
    </message>
    <message>
        <source>Searching</source>
        <translation>Ricerca</translation>
    </message>
    <message>
        <source>This is already in progress. Wait until it is done, or cancel it.</source>
        <translation>È già in corso. Attendere che finisca, o interrompere.</translation>
    </message>
    <message>
        <source>Training, epoch {done} of {total}, {time}</source>
        <translation>Addestramento, epoca {done} di {total}, {time}</translation>
    </message>
    <message>
        <source>Training, {time}</source>
        <translation>Addestramento, {time}</translation>
    </message>
    <message>
        <source>Working, {time}</source>
        <translation>Al lavoro, {time}</translation>
    </message>
    <message>
        <source>{done} images, {time}</source>
        <translation>{done} immagini, {time}</translation>
    </message>
    <message>
        <source>{done} of {total} images, {time}</source>
        <translation>{done} di {total} immagini, {time}</translation>
    </message>
    <message>
        <source>{kilobytes} kB</source>
        <translation>{kilobytes} kB</translation>
    </message>
    <message>
        <source>{megabytes} MB</source>
        <translation>{megabytes} MB</translation>
    </message>
</context>
<context>
    <name>panels.text_prompt</name>
    <message>
        <source>A run is in progress.</source>
        <translation>È in corso un&apos;esecuzione.</translation>
    </message>
    <message>
        <source>Add a segment and select it, or choose new segments.</source>
        <translation>Aggiungere un segmento e selezionarlo, o scegliere nuovi segmenti.</translation>
    </message>
    <message>
        <source>Add to what is there</source>
        <translation>Aggiungi a ciò che c&apos;è</translation>
    </message>
    <message>
        <source>Box around the selected segment</source>
        <translation>Parallelepipedo attorno al segmento selezionato</translation>
    </message>
    <message>
        <source>Cancelled. Nothing was changed.</source>
        <translation>Interrotto. Non è cambiato nulla.</translation>
    </message>
    <message>
        <source>Choose a segmentation.</source>
        <translation>Scegliere una segmentazione.</translation>
    </message>
    <message>
        <source>Choose a source volume.</source>
        <translation>Scegliere un volume sorgente.</translation>
    </message>
    <message>
        <source>Everywhere</source>
        <translation>Ovunque</translation>
    </message>
    <message>
        <source>Find this structure. (Enter)</source>
        <translation>Trova questa struttura. (Invio)</translation>
    </message>
    <message>
        <source>Found: {names}.</source>
        <translation>Trovato: {names}.</translation>
    </message>
    <message>
        <source>Keep only what is in both</source>
        <translation>Mantieni solo ciò che è in entrambi</translation>
    </message>
    <message>
        <source>New segments</source>
        <translation>Nuovi segmenti</translation>
    </message>
    <message>
        <source>Not found, nothing was changed for: {names}.</source>
        <translation>Non trovato, nulla è cambiato per: {names}.</translation>
    </message>
    <message>
        <source>Nothing was sent.</source>
        <translation>Non è stato inviato nulla.</translation>
    </message>
    <message>
        <source>Only a part was done, and is kept: {why}</source>
        <translation>È stata completata solo una parte, che è conservata: {why}</translation>
    </message>
    <message>
        <source>Remove from what is there</source>
        <translation>Rimuovi da ciò che c&apos;è</translation>
    </message>
    <message>
        <source>Replace what is there</source>
        <translation>Sostituisci ciò che c&apos;è</translation>
    </message>
    <message>
        <source>Selected segment</source>
        <translation>Segmento selezionato</translation>
    </message>
    <message>
        <source>Slices from–to (2D)</source>
        <translation>Sezioni da–a (2D)</translation>
    </message>
    <message>
        <source>The masking leaves nothing to change for: {names}.</source>
        <translation>La mascheratura non lascia nulla da modificare per: {names}.</translation>
    </message>
    <message>
        <source>The region does not reach these slices. Choose others, or another region.</source>
        <translation>La regione non raggiunge queste sezioni. Sceglierne altre, o un&apos;altra regione.</translation>
    </message>
    <message>
        <source>The selected segment takes one structure. Type one, or choose new segments.</source>
        <translation>Il segmento selezionato accoglie una sola struttura. Digitarne una, o scegliere nuovi segmenti.</translation>
    </message>
    <message>
        <source>This slice (2D)</source>
        <translation>Questa sezione (2D)</translation>
    </message>
    <message>
        <source>Type what to find, or give the segment the name of a structure.</source>
        <translation>Digitare che cosa trovare, o dare al segmento il nome di una struttura.</translation>
    </message>
    <message>
        <source>Visible region of interest</source>
        <translation>Regione di interesse visibile</translation>
    </message>
    <message>
        <source>Volume (3D)</source>
        <translation>Volume (3D)</translation>
    </message>
    <message>
        <source>What the slice views show</source>
        <translation>Ciò che mostrano le viste di sezione</translation>
    </message>
    <message>
        <source>such as liver</source>
        <translation>per esempio liver</translation>
    </message>
</context>
</TS>
